//! How many connections may be open before anyone has logged in (rule B3).
//!
//! Owns the counters. Knows nothing of sockets.
//! INVARIANT: each [`LoginSlot`] is counted once, and given back when it is dropped or admitted.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Limits of one listener.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections that have not logged in, in all. Default 200.
    pub max_unauthenticated: usize,
    /// Of these, how many are kept for addresses that logged in before. Default 50.
    pub kept_for_known: usize,
    /// Connections that have not logged in, per address (IPv6: /64). Default 20.
    pub max_unauthenticated_per_address: usize,
    /// New connections per second, with a burst of as many; a quarter of the burst is kept for
    /// addresses that logged in before. Default 100.
    pub starts_per_second: u32,
    /// Open connections in all. Default 2,000.
    pub max_connections: usize,
    /// From accept to login. Default 30 s.
    pub grace: Duration,
    /// Who must say a client's address before its first byte. Default nobody.
    pub proxies: Proxies,
}

/// The named proxies. From each of them a PROXY header is demanded, and the address that it says
/// is the client's in every respect; from nobody else a header is taken.
#[derive(Clone, Default)]
pub struct Proxies(Option<Arc<dyn Fn(IpAddr) -> bool + Send + Sync>>);

impl Proxies {
    /// Those of whom `is_named` is true.
    pub fn new(is_named: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Proxies(Some(Arc::new(is_named)))
    }

    pub(crate) fn is_named(&self, peer: IpAddr) -> bool {
        self.0
            .as_ref()
            .is_some_and(|is_named| is_named(peer.to_canonical()))
    }
}

impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Proxies").field(&self.0.is_some()).finish()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_unauthenticated: 200,
            kept_for_known: 50,
            max_unauthenticated_per_address: 20,
            starts_per_second: 100,
            max_connections: 2000,
            grace: Duration::from_secs(30),
            proxies: Proxies::default(),
        }
    }
}

/// Why a connection was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The address is banned (rule B2).
    #[error("the address is banned")]
    Banned,
    /// Too many connections are open.
    #[error("too many connections are open")]
    Connections,
    /// Too many connections have not logged in.
    #[error("too many connections wait for login")]
    Unauthenticated,
    /// Too many connections of this address have not logged in.
    #[error("too many connections of this address wait for login")]
    Address,
    /// Connections come too fast.
    #[error("connections come too fast")]
    StartRate,
}

/// One in so many of a burst of new connections is kept for known addresses.
const STARTS_KEPT: u32 = 4;
/// Addresses that are remembered as known; the one seen longest ago makes room.
const MAX_KNOWN: usize = 4096;

/// Counts the connections of one socket. It outlives listeners, so that new limits forget neither
/// who is there nor who is known.
#[derive(Debug)]
pub struct Gauge {
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    limits: Limits,
    connections: usize,
    unauthenticated: usize,
    by_address: HashMap<IpAddr, usize>,
    known: HashMap<IpAddr, Instant>,
    starts: f64,
    refilled: Instant,
}

/// A counted connection. Until [`admitted`](Self::admitted) it counts as waiting for login;
/// dropping it gives everything back.
#[derive(Debug)]
pub struct LoginSlot {
    gauge: Arc<Gauge>,
    address: IpAddr,
    waiting: Mutex<bool>,
}

impl Gauge {
    /// Nobody is there yet.
    pub fn new(limits: Limits) -> Arc<Self> {
        let counts = Counts {
            connections: 0,
            unauthenticated: 0,
            by_address: HashMap::new(),
            known: HashMap::new(),
            starts: f64::from(limits.starts_per_second),
            refilled: Instant::now(),
            limits,
        };
        Arc::new(Gauge {
            counts: Mutex::new(counts),
        })
    }

    /// New connections come under these limits; what is open counts towards them.
    pub fn set_limits(&self, limits: Limits) {
        let mut counts = self.lock();
        let rate = f64::from(limits.starts_per_second);
        // A burst that was used up stays used up.
        let gained = rate - f64::from(counts.limits.starts_per_second);
        counts.starts = (counts.starts + gained).clamp(0.0, rate);
        counts.limits = limits;
    }

    /// From accept to login.
    pub(crate) fn grace(&self) -> Duration {
        self.lock().limits.grace
    }

    /// Who must say a client's address.
    pub(crate) fn proxies(&self) -> Proxies {
        self.lock().limits.proxies.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection, or says why not.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Result<LoginSlot, Refused> {
        let address = bucket(peer);
        let mut counts = self.lock();
        let limits = counts.limits.clone();
        if counts.connections >= limits.max_connections {
            return Err(Refused::Connections);
        }
        let known = counts.known.contains_key(&address);
        let kept = if known { 0 } else { limits.kept_for_known };
        if counts.unauthenticated + kept >= limits.max_unauthenticated {
            return Err(Refused::Unauthenticated);
        }
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if here >= limits.max_unauthenticated_per_address {
            return Err(Refused::Address);
        }
        if !counts.take_start(limits.starts_per_second, known) {
            return Err(Refused::StartRate);
        }
        counts.connections += 1;
        counts.unauthenticated += 1;
        counts.by_address.insert(address, here + 1);
        drop(counts);
        Ok(LoginSlot {
            gauge: Arc::clone(self),
            address,
            waiting: Mutex::new(true),
        })
    }
}

impl Counts {
    fn take_start(&mut self, per_second: u32, known: bool) -> bool {
        let now = Instant::now();
        let kept = if known { 0 } else { per_second / STARTS_KEPT };
        let per_second = f64::from(per_second);
        let gained = now.duration_since(self.refilled).as_secs_f64() * per_second;
        self.starts = (self.starts + gained).min(per_second);
        self.refilled = now;
        if self.starts < 1.0 + f64::from(kept) {
            return false;
        }
        self.starts -= 1.0;
        true
    }

    fn stop_waiting(&mut self, address: IpAddr) {
        self.unauthenticated = self.unauthenticated.saturating_sub(1);
        if let Some(count) = self.by_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    fn remember(&mut self, address: IpAddr) {
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(&address) {
            let oldest = self
                .known
                .iter()
                .min_by_key(|(_, seen)| **seen)
                .map(|(ip, _)| *ip);
            if let Some(oldest) = oldest {
                self.known.remove(&oldest);
            }
        }
        self.known.insert(address, Instant::now());
    }
}

impl LoginSlot {
    /// The client logged in: it waits no more, and its address is known from now on.
    pub fn admitted(&self) {
        if self.stop_waiting() {
            self.gauge.lock().remember(self.address);
        }
    }

    /// The client has logged out: it counts as waiting for login again. Its own connections may
    /// then be more than may wait at once; nobody new comes in until they are fewer.
    pub fn waits_again(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *waiting, true) {
            let mut counts = self.gauge.lock();
            counts.unauthenticated += 1;
            *counts.by_address.entry(self.address).or_default() += 1;
        }
    }

    /// Whether the client has not logged in yet.
    pub fn is_waiting(&self) -> bool {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop_waiting(&self) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let was = std::mem::replace(&mut *waiting, false);
        if was {
            self.gauge.lock().stop_waiting(self.address);
        }
        was
    }
}

impl Drop for LoginSlot {
    fn drop(&mut self) {
        self.stop_waiting();
        let mut counts = self.gauge.lock();
        counts.connections = counts.connections.saturating_sub(1);
    }
}

/// The address that is counted: one customer holds a whole IPv6 /64.
fn bucket(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    fn small() -> Limits {
        Limits {
            max_unauthenticated: 4,
            kept_for_known: 2,
            max_unauthenticated_per_address: 2,
            starts_per_second: 1000,
            max_connections: 5,
            grace: Duration::from_secs(1),
            proxies: Proxies::default(),
        }
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    // rule B3: bounded in total and per address, with room kept for known addresses.
    #[tokio::test]
    async fn room_is_kept_for_known_addresses() {
        let gauge = Gauge::new(small());
        let known = gauge.enter(ip(1)).unwrap();
        known.admitted();
        let _a = gauge.enter(ip(2)).unwrap();
        let _b = gauge.enter(ip(2)).unwrap();
        assert_eq!(gauge.enter(ip(3)).unwrap_err(), Refused::Unauthenticated);
        let _c = gauge.enter(ip(1)).unwrap();
        let _d = gauge.enter(ip(1)).unwrap();
        assert_eq!(gauge.enter(ip(1)).unwrap_err(), Refused::Connections);
    }

    // rule B3
    #[tokio::test]
    async fn an_address_is_bounded_and_gives_its_room_back() {
        let gauge = Gauge::new(small());
        let a = gauge.enter(ip(2)).unwrap();
        let b = gauge.enter(ip(2)).unwrap();
        assert_eq!(gauge.enter(ip(2)).unwrap_err(), Refused::Unauthenticated);
        drop(a);
        b.admitted();
        assert!(!b.is_waiting());
        let _c = gauge.enter(ip(2)).unwrap();
        let _d = gauge.enter(ip(2)).unwrap();
        assert_eq!(gauge.enter(ip(2)).unwrap_err(), Refused::Address);
        assert_eq!(gauge.lock().unauthenticated, 2);
    }

    // rule B3
    #[tokio::test(start_paused = true)]
    async fn the_start_rate_is_bounded() {
        let limits = Limits {
            starts_per_second: 2,
            max_connections: 100,
            ..Limits::default()
        };
        let gauge = Gauge::new(limits);
        let _a = gauge.enter(ip(1)).unwrap();
        let _b = gauge.enter(ip(2)).unwrap();
        assert_eq!(gauge.enter(ip(3)).unwrap_err(), Refused::StartRate);
        tokio::time::advance(Duration::from_millis(600)).await;
        assert!(gauge.enter(ip(3)).is_ok());
        assert_eq!(gauge.enter(ip(4)).unwrap_err(), Refused::StartRate);
    }

    // rule B3: those who come too fast do not shut out who is known.
    #[tokio::test(start_paused = true)]
    async fn starts_are_kept_for_known_addresses() {
        let limits = Limits {
            starts_per_second: 8,
            max_unauthenticated_per_address: 100,
            max_connections: 100,
            ..Limits::default()
        };
        let gauge = Gauge::new(limits);
        gauge.lock().remember(ip(1));
        for _ in 0..6 {
            gauge.enter(ip(2)).unwrap();
        }
        assert_eq!(gauge.enter(ip(2)).unwrap_err(), Refused::StartRate);
        gauge.enter(ip(1)).unwrap();
        gauge.enter(ip(1)).unwrap();
        assert_eq!(gauge.enter(ip(1)).unwrap_err(), Refused::StartRate);
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let a = bucket("2001:db8:1:2:3::1".parse().unwrap());
        assert_eq!(a, bucket("2001:db8:1:2:ffff::9".parse().unwrap()));
        assert_ne!(a, bucket("2001:db8:1:3::1".parse().unwrap()));
        assert_eq!(bucket("::ffff:192.0.2.1".parse().unwrap()), ip(1));
    }

    #[tokio::test]
    async fn known_addresses_are_bounded() {
        let gauge = Gauge::new(small());
        let mut counts = gauge.lock();
        for i in 0..=u32::try_from(MAX_KNOWN).unwrap() {
            counts.remember(IpAddr::from(i.to_be_bytes()));
        }
        assert_eq!(counts.known.len(), MAX_KNOWN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_higher_rate_of_starts_holds_at_once_and_a_used_burst_stays_used() {
        let slow = Limits {
            starts_per_second: 1,
            ..small()
        };
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let gauge = Gauge::new(slow.clone());
        gauge.set_limits(small());
        drop(gauge.enter(address).unwrap());
        let gauge = Gauge::new(slow.clone());
        drop(gauge.enter(address).unwrap());
        gauge.set_limits(slow);
        assert_eq!(gauge.enter(address).unwrap_err(), Refused::StartRate);
    }

    #[tokio::test(start_paused = true)]
    async fn new_limits_forget_neither_who_is_there_nor_who_is_known() {
        let gauge = Gauge::new(small());
        let known: IpAddr = "192.0.2.1".parse().unwrap();
        let stays = gauge.enter(known).unwrap();
        stays.admitted();
        let _waits = gauge.enter("192.0.2.2".parse().unwrap()).unwrap();
        gauge.set_limits(Limits {
            max_unauthenticated: 3,
            ..small()
        });
        let stranger = gauge.enter("192.0.2.3".parse().unwrap());
        assert_eq!(stranger.unwrap_err(), Refused::Unauthenticated);
        let _again = gauge.enter(known).unwrap();
        gauge.set_limits(Limits {
            max_connections: 3,
            ..small()
        });
        assert_eq!(gauge.enter(known).unwrap_err(), Refused::Connections);
    }
}
