//! The control side of the kernel path.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use common::{
    maps::{
        self, ALL, ANY_CPU, Destination, FROM_XDP, Listener, MAX_DESTINATIONS, MAX_DOMAINS,
        MAX_RECEIVERS, MAX_SESSIONS, ROUND_ROBIN,
    },
    reason::{PassUp, Reason, ReceiverCounters},
};
use tracing::{info, warn};

use super::{
    LoadError, Offload, Pins,
    address::{address, port},
    devices::Devices,
    egress::Egress,
    gates,
    maps::{ControlMaps, ListenerKey, Maps, listener_key},
    programs::{Hook, Programs},
    session,
    status::PathStatus,
    ways::{Way, device},
};
use crate::{
    config::{Mode, Receiver, ReceiverId},
    route::{Changes, Interface, Routes},
};

/// Packets that may wait for a receiver's own CPU.
const CPU_QUEUE: u32 = 2048;

/// What the protocol between programs and daemon has been shown to be sound on: reads of a program
/// are ordered there as they are written.
const SOUND: bool = cfg!(target_arch = "x86_64");

/// The kernel path of this daemon.
pub struct KernelPath {
    programs: Programs,
    maps: Arc<Maps>,
    control: ControlMaps,
    devices: Devices,
    routes: Routes,
    changes: Changes,
    served: Vec<Served>,
    /// By the interface's index: a name may come to be another one's.
    attached: BTreeMap<u32, Attached>,
    egress: Option<Egress>,
}

/// A receiver in the kernel path.
struct Served {
    id: ReceiverId,
    index: u32,
    mode: Mode,
    bind: Option<IpAddr>,
    listener: Listener,
    ways: Vec<Way>,
    /// The interfaces that `BROADCASTS` has, if this daemon has set them.
    broadcast: Option<Vec<u32>>,
}

/// A program at an interface.
struct Attached {
    name: String,
    hook: Hook,
    /// Why the first choice did not work.
    instead: Option<String>,
}

impl KernelPath {
    /// Loads the programs of the balancer with this configuration file, or takes over what a daemon
    /// before has left.
    pub fn start(config: &Path) -> Result<KernelPath, LoadError> {
        if !SOUND {
            return Err(LoadError::Architecture);
        }
        let pins = Pins::of(config);
        let started = match pins.prepare() {
            Ok(found) => KernelPath::load(&pins, found).inspect_err(|_| {
                // A failed load leaves maps behind that nobody needs.
                if !found {
                    let _ = pins.purge();
                }
            }),
            Err(error) => Err(LoadError::Pins(error)),
        };
        started.map_err(|error| LoadError::Gates { cause: Box::new(error), gates: gates::look() })
    }

    fn load(pins: &Pins, found: bool) -> Result<KernelPath, LoadError> {
        let mut programs = Programs::load(pins)?;
        let (maps, mut control) = Maps::take(programs.object())?;
        if !found {
            let nowhere = vec![(); MAX_RECEIVERS];
            for (index, ()) in (0..).zip(nowhere) {
                maps.receivers.store(index, &EMPTY_RECEIVER);
            }
        }
        let copier = programs.copier()?;
        let devices = Devices::take(programs.object(), copier)?;
        set_movers(&mut control, &mut programs)?;
        collect_free(&maps);
        let egress = Egress::start(&mut programs);
        // What changes from here on is noticed.
        let changes = Changes::watch().map_err(LoadError::Netlink)?;
        let routes = Routes::new().map_err(LoadError::Netlink)?;
        Ok(KernelPath {
            programs,
            maps: Arc::new(maps),
            control,
            devices,
            routes,
            changes,
            served: Vec::new(),
            attached: BTreeMap::new(),
            egress,
        })
    }

    /// Puts a receiver into the maps. Its sessions must be the daemon's, or be those of a daemon
    /// before it. `collectors` are its destinations' addresses. Programs are attached, and ways
    /// found, by the next [`KernelPath::refresh`].
    pub fn place(
        &mut self,
        receiver: &Receiver,
        collectors: &[SocketAddr],
    ) -> Result<Arc<Offload>, LoadError> {
        let listener = listener(receiver);
        let index = self.index_of(receiver, &listener)?;
        let mode = if receiver.mode == Mode::All { ALL } else { ROUND_ROBIN };
        let mut row = self.maps.receivers.load(index).unwrap_or(EMPTY_RECEIVER);
        let old = self.served.iter().position(|served| served.id == receiver.id);
        let left = old.is_none() && row.mode == mode && self.leads_to(index, collectors);
        if old.is_none() && !left {
            self.evict(index);
        }
        row.mode = mode;
        row.destinations = u32::try_from(collectors.len()).unwrap_or(0);
        row.cpu = cpu(receiver);
        let mut served = Served {
            id: receiver.id,
            index,
            mode: receiver.mode,
            bind: receiver.bind,
            listener,
            ways: collectors.iter().copied().map(Way::new).collect(),
            broadcast: None,
        };
        self.maps.receivers.store(index, &row);
        let old = old.and_then(|at| self.served.get_mut(at));
        let stays =
            old.as_ref().is_some_and(|old| old.leads_to(collectors) && old.mode == receiver.mode);
        match &old {
            Some(old) => self.control.move_counters(index, &old.places(collectors)),
            None if !left => self.control.clear_counters(index),
            None => {}
        }
        match left {
            true => served.resume(&self.maps),
            false if !stays => served.close(&self.maps),
            false => {}
        }
        match old {
            Some(_) if stays => {}
            Some(old) => *old = served,
            None => self.served.push(served),
        }
        let listen = self.control.listeners.insert(listener_key(&listener), index, 0);
        listen.map_err(LoadError::map("LISTENERS"))?;
        Ok(Arc::new(Offload { maps: Arc::clone(&self.maps), receiver: index, port: receiver.port }))
    }

    /// Takes a receiver out of the maps. Its sessions have been closed.
    pub fn remove(&mut self, id: ReceiverId) {
        let Some(at) = self.served.iter().position(|served| served.id == id) else { return };
        let served = self.served.remove(at);
        self.forget(&listener_key(&served.listener), served.index);
    }

    /// Takes away what a daemon before this one had for receivers that are no more.
    pub fn forget_others(&mut self) {
        let known: Vec<u32> = self.served.iter().map(|served| served.index).collect();
        let stale: Vec<_> = self
            .control
            .listeners
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, index)| !known.contains(index))
            .collect();
        for (key, index) in stale {
            self.forget(&key, index);
        }
    }

    /// Brings programs and ways in line with the network. To be called when it has changed.
    pub fn refresh(&mut self) {
        let interfaces = match self.routes.interfaces() {
            Ok(interfaces) => interfaces,
            Err(error) => {
                warn!(
                    "can't look at the network's interfaces, the kernel path keeps to what it knew: {error}"
                );
                return;
            }
        };
        for served in &mut self.served {
            let entries = served.look(&mut self.routes, &interfaces);
            served.tell_unanswered(&self.maps);
            let copies = served.broadcast(&entries, &self.maps, &mut self.devices);
            served.follow(entries, copies, &self.maps);
        }
        let used = self.served.iter().flat_map(Served::devices);
        // Where copies and others go out by one interface, `true` comes last.
        self.devices.keep(&BTreeMap::from_iter(used.collect::<BTreeSet<_>>()));
        self.routes.release_unused();
        self.attach(&interfaces);
        if let Some(egress) = &mut self.egress {
            let used = self.served.iter().flat_map(Served::devices).map(|(interface, _)| interface);
            egress.follow(&interfaces, used);
        }
    }

    /// Frames that interfaces have not taken.
    pub fn egress_drops(&self) -> BTreeMap<String, u64> {
        self.egress.as_ref().map(Egress::drops).unwrap_or_default()
    }

    /// Whether the receiver's packets come by a TC hook. There the kernel has joined datagrams already
    /// (GRO), and programs see trains that they can't forward, unless the socket forgoes it.
    pub fn comes_by_tc(&self, id: ReceiverId) -> bool {
        self.served.iter().any(|served| served.id == id)
            && self.attached.values().any(|attached| attached.hook == Hook::Tc)
    }

    /// Waits until the network may have changed.
    pub async fn changed(&mut self) {
        self.changes.changed().await;
    }

    /// What `status` tells of a receiver.
    pub fn status(&self, id: ReceiverId) -> Option<PathStatus> {
        let served = self.served.iter().find(|served| served.id == id)?;
        let counters = self.control.receiver_counters(served.index);
        let [messages, bytes, overload, ..] = counters;
        let passed_up = counters.get(ReceiverCounters::FIRST_PASS_UP..).unwrap_or_default();
        let passed_up = PassUp::ALL.into_iter().zip(passed_up.iter().copied());
        let destinations = (0..).zip(&served.ways).map(|(destination, _)| {
            let [messages, bytes] = self.control.destination_counters(served.index, destination);
            (messages, bytes)
        });
        Some(PathStatus {
            reason: self.explain(served),
            messages,
            bytes,
            dropped: [(Reason::Overload, overload)].into_iter().filter(|(_, n)| *n > 0).collect(),
            passed_up: passed_up.filter(|(_, count)| *count > 0).collect(),
            destinations: destinations.collect(),
        })
    }

    fn explain(&self, served: &Served) -> String {
        let place = |Attached { name, hook, instead }: &Attached| match instead {
            Some(why) => format!("{} on {name} (not xdp: {why})", hook.as_str()),
            None => format!("{} on {name}", hook.as_str()),
        };
        let mut attached: Vec<_> = self.attached.values().collect();
        attached.sort_by_key(|attached| &attached.name);
        let places = attached.into_iter().map(place);
        let mut parts: Vec<String> = places.collect();
        if parts.is_empty() {
            parts.push("no interface with an address that the receiver listens on".to_owned());
        }
        for way in &served.ways {
            if let Some(obstacle) = &way.obstacle {
                parts.push(format!("{}: {obstacle}", way.collector));
            }
        }
        parts.join("; ")
    }

    fn attach(&mut self, interfaces: &[Interface]) {
        let xdp = self.served.iter().flat_map(|served| &served.ways).all(Way::takes_xdp);
        let mut wanted = BTreeMap::new();
        let listened = |interface: &Interface| {
            interface.up && self.served.iter().any(|served| served.listens_on(interface))
        };
        for interface in interfaces.iter().filter(|interface| listened(interface)) {
            // What has gone by the program below would be counted twice.
            let lower = interfaces.iter().find(|lower| Some(lower.index) == interface.lower);
            if !lower.is_some_and(listened) {
                let (name, hook) = (interface.name.clone(), first_choice(interface, xdp));
                wanted.insert(interface.index, (name, hook));
            }
        }
        let gone: Vec<_> =
            self.attached.keys().filter(|index| !wanted.contains_key(*index)).copied().collect();
        for index in gone {
            self.detach(index);
        }
        for (index, (name, hook)) in wanted {
            self.attach_to(index, name, hook);
        }
        // A daemon before this one may have had programs elsewhere.
        let there: Vec<_> = self.attached.iter().map(|(index, at)| (at.hook, *index)).collect();
        self.programs.detach_others(&there);
    }

    fn attach_to(&mut self, index: u32, name: String, hook: Hook) {
        if let Some(there) = self.attached.get_mut(&index)
            && (there.hook == hook || there.instead.is_some())
        {
            there.name = name;
            return;
        }
        self.detach(index);
        let instead = match self.programs.attach(hook, &name, index) {
            Ok(()) => None,
            Err(error) if hook == Hook::Xdp => match self.programs.attach(Hook::Tc, &name, index) {
                Ok(()) => Some(error),
                Err(second) => {
                    return warn!(
                        interface = name,
                        "no program could be attached, what comes in there is forwarded in userspace: {error}; {second}"
                    );
                }
            },
            Err(error) => {
                return warn!(
                    interface = name,
                    "no program could be attached, what comes in there is forwarded in userspace: {error}"
                );
            }
        };
        let hook = if instead.is_some() { Hook::Tc } else { hook };
        match &instead {
            Some(why) => {
                info!(
                    interface = name,
                    hook = hook.as_str(),
                    "the kernel path's program is attached, in place of XDP: {why}"
                )
            }
            None => info!(
                interface = name,
                hook = hook.as_str(),
                "the kernel path's program is attached"
            ),
        }
        self.attached.insert(index, Attached { name, hook, instead });
    }

    fn detach(&mut self, index: u32) {
        if let Some(Attached { name, hook, .. }) = self.attached.remove(&index) {
            // A link that went with its interface has left its pin.
            let _ = self.programs.detach(hook, index);
            info!(interface = name, "the kernel path's program is detached");
        }
    }

    /// The receiver's place in the maps: the one it had under a daemon before, or a free one, or one
    /// that a receiver had under that daemon and has not come back for.
    fn index_of(&mut self, receiver: &Receiver, listener: &Listener) -> Result<u32, LoadError> {
        if let Some(served) = self.served.iter().find(|served| served.id == receiver.id) {
            return Ok(served.index);
        }
        let places: Vec<_> = self.control.listeners.iter().filter_map(Result::ok).collect();
        let key = listener_key(listener);
        if let Some((_, index)) = places.iter().find(|(known, _)| *known == key) {
            return Ok(*index);
        }
        let all = 0..u32::try_from(MAX_RECEIVERS).unwrap_or(0);
        let serves = |index: &u32| self.served.iter().any(|served| served.index == *index);
        let is_left = |index: &u32| places.iter().any(|(_, taken)| taken == index);
        let mut unserved = all.filter(|index| !serves(index));
        if let Some(free) = unserved.clone().find(|index| !is_left(index)) {
            return Ok(free);
        }
        let left = unserved.next().ok_or(LoadError::Full)?;
        for (key, _) in places.iter().filter(|(_, index)| *index == left) {
            self.forget(key, left);
        }
        Ok(left)
    }

    /// Takes a receiver and its sessions out of the maps.
    fn forget(&mut self, listener: &ListenerKey, index: u32) {
        let _ = self.control.listeners.remove(listener);
        self.evict(index);
        self.maps.receivers.store(index, &EMPTY_RECEIVER);
    }

    /// Whether a daemon before this one had the same destinations there.
    fn leads_to(&self, index: u32, collectors: &[SocketAddr]) -> bool {
        let offload = Offload { maps: Arc::clone(&self.maps), receiver: index, port: 0 };
        let collectors: Vec<_> = collectors.iter().copied().map(Some).collect();
        offload.leads_to(&collectors)
    }

    /// Takes all sessions of a receiver out of the maps.
    fn evict(&self, receiver: u32) {
        let mut index = self.maps.index();
        for orphan in session::orphans(&self.maps, &index, receiver) {
            orphan.evict(&mut index);
        }
    }
}

impl Served {
    /// The ways to all destinations as they are now.
    fn look(&mut self, routes: &mut Routes, interfaces: &[Interface]) -> Vec<Destination> {
        let id = self.id;
        let look = |way: &mut Way| {
            let before = way.obstacle.clone();
            let entry = way.look(routes, interfaces);
            if way.obstacle != before
                && let Some(obstacle) = &way.obstacle
            {
                info!(receiver = %id, destination = %way.collector, "stays in userspace: {obstacle}");
            }
            entry
        };
        self.ways.iter_mut().map(look).collect()
    }

    /// Lets handlers know which neighbours do not answer.
    fn tell_unanswered(&self, maps: &Maps) {
        let bits =
            self.ways.iter().rev().fold(0, |bits, way| bits << 1 | u32::from(way.unanswered));
        let place = usize::try_from(self.index).ok().and_then(|index| maps.unanswered.get(index));
        if let Some(place) = place {
            place.store(bits, Relaxed);
        }
    }

    /// Brings the devices that copies go to in line with the ways to be; false where it can't.
    /// Programs look at one after the other: where the devices change, all goes up meanwhile.
    fn broadcast(&mut self, entries: &[Destination], maps: &Maps, devices: &mut Devices) -> bool {
        let interfaces: Vec<u32> = entries.iter().filter_map(device).collect();
        let of_now: Vec<u32> = self.ways.iter().filter_map(Way::device).collect();
        if self.mode != Mode::All || self.broadcast.as_ref() == Some(&interfaces) {
            return true;
        }
        // After a daemon before this one, it may be the copier alone that changes.
        if interfaces != of_now {
            self.close(maps);
        }
        match devices.broadcast(self.index, &interfaces) {
            Ok(()) => self.broadcast = Some(interfaces),
            Err(error) => {
                warn!(receiver = %self.id, "copies can't be sent by XDP, they are made in userspace: {error}");
                self.broadcast = None;
            }
        }
        self.broadcast.is_some()
    }

    /// The interfaces that packets for this receiver are sent by from XDP, and whether they are copies.
    fn devices(&self) -> impl Iterator<Item = (u32, bool)> {
        let copies = self.mode == Mode::All;
        self.ways.iter().filter_map(Way::device).map(move |interface| (interface, copies))
    }

    /// Lets programs take the ways, by XDP as well where `copies` says so.
    fn follow(&mut self, entries: Vec<Destination>, copies: bool, maps: &Maps) {
        let mask = if copies { u32::MAX } else { !FROM_XDP };
        for ((destination, way), entry) in (0..).zip(&mut self.ways).zip(entries) {
            let entry = Destination { reach: entry.reach & mask, ..entry };
            way.follow(entry, maps, (self.index, destination));
        }
    }

    /// Sends everything up until the ways are known.
    fn close(&mut self, maps: &Maps) {
        for (destination, way) in (0..).zip(&mut self.ways) {
            way.close(maps, (self.index, destination));
        }
    }

    /// Goes on with the ways of a daemon before this one.
    fn resume(&mut self, maps: &Maps) {
        for (destination, way) in (0..).zip(&mut self.ways) {
            way.resume(maps, (self.index, destination));
        }
    }

    fn leads_to(&self, collectors: &[SocketAddr]) -> bool {
        self.ways.iter().map(|way| way.collector).eq(collectors.iter().copied())
    }

    /// Where each of `collectors` is among the destinations of now.
    fn places(&self, collectors: &[SocketAddr]) -> Vec<Option<u32>> {
        let place = |collector: &SocketAddr| {
            let mut ways = (0..).zip(&self.ways);
            ways.find(|(_, way)| way.collector == *collector).map(|(place, _)| place)
        };
        collectors.iter().map(place).collect()
    }

    fn listens_on(&self, interface: &Interface) -> bool {
        let loopback = interface.kind.as_deref() == Some("loopback");
        match self.bind {
            // Packets of this host to any of its addresses go by `lo`.
            Some(_) if loopback => true,
            Some(bind) => interface.addresses.contains(&bind),
            None => !interface.addresses.is_empty(),
        }
    }
}

fn first_choice(interface: &Interface, xdp: bool) -> Hook {
    let native = interface.xdp.is_none_or(|features| features.native && features.redirect);
    match interface.kind.as_deref() {
        Some("loopback") => Hook::Loopback,
        _ if native && xdp && interface.mac.is_some() => Hook::Xdp,
        _ => Hook::Tc,
    }
}

fn listener(receiver: &Receiver) -> Listener {
    let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let address = address(receiver.bind.unwrap_or(any));
    Listener { address, port: port(receiver.port), zeros: 0 }
}

/// The CPU of `TASKSET`: a session's packets are all done by one.
fn cpu(receiver: &Receiver) -> u32 {
    receiver.cpus.first().and_then(|cpu| u32::try_from(*cpu).ok()).unwrap_or(ANY_CPU)
}

/// Lets every CPU take packets from others.
fn set_movers(control: &mut ControlMaps, programs: &mut Programs) -> Result<(), LoadError> {
    let mover = programs.mover()?;
    for cpu in aya::util::online_cpus().map_err(|(file, error)| LoadError::Cpus(file, error))? {
        let set = control.cpus.set(cpu, CPU_QUEUE, Some(&mover), 0);
        set.map_err(LoadError::map("CPUS"))?;
    }
    Ok(())
}

/// Finds the places that no session of a daemon before this one has.
fn collect_free(maps: &Maps) {
    let mut index = maps.index();
    let domains: Vec<u32> =
        index.flows.iter().filter_map(Result::ok).map(|(_, domain)| domain).collect();
    let sessions: Vec<u32> =
        domains.iter().filter_map(|domain| maps.domains.load(*domain)).map(|d| d.session).collect();
    index.free_domains = free(MAX_DOMAINS, &domains);
    index.free_sessions = free(MAX_SESSIONS, &sessions);
}

fn free(count: usize, taken: &[u32]) -> VecDeque<u32> {
    (0..u32::try_from(count).unwrap_or(0)).filter(|place| !taken.contains(place)).collect()
}

const EMPTY_RECEIVER: maps::Receiver =
    maps::Receiver { mode: ROUND_ROBIN, destinations: 0, cpu: ANY_CPU, places: 0 };

const _: () = assert!(MAX_DESTINATIONS <= 32);
