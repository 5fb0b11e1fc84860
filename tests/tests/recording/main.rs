//! Recording: what exporters send is in the dump files, once and as it was, whatever happens to the
//! daemon and its disk meanwhile.

mod copies;
mod corpus;
mod crash;
mod disk;
mod inspected;
mod keeping;
mod launched;
mod rotation;
mod scene;
