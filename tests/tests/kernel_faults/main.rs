//! The kernel path when something changes or breaks: the network, the daemon, the configuration,
//! what the host allows.

mod allowed;
mod leftovers;
mod network;
mod outages;
mod overload;
mod places;
mod ports;
mod refused;
mod reload;
mod restart;
mod scene;
