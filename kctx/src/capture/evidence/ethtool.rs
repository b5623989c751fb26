//! How the drivers of physical devices are set and what they count: channels, rings, coalescing, features by the kernel's ethtool
//! netlink family, the rest by its ioctl. Nothing is asked that a device has to be stopped for (self tests, EEPROMs, register
//! dumps), and no key or address.

use std::collections::BTreeMap;

use rustix::net::netlink::GENERIC;
use serde::Serialize;

use super::{
    netlink::{Ask, Socket, attribute, attributes, number, put, text},
    place::{Place, busiest_interfaces},
    siocethtool::Asking,
};

/// Devices asked about.
const DEVICES: usize = 32;

/// include/uapi/linux/genetlink.h
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// `struct genlmsghdr`
const GENLMSG: usize = 4;

/// include/uapi/linux/ethtool_netlink.h
const FEATURES_GET: u8 = 11;
const RINGS_GET: u8 = 15;
const CHANNELS_GET: u8 = 17;
const COALESCE_GET: u8 = 19;
/// The header is attribute 1 of each message; the device's name is attribute 2 of it.
const HEADER: u16 = 1;
/// Requests are checked strictly: what is nested has to say so (include/uapi/linux/netlink.h).
const NLA_F_NESTED: u16 = 0x8000;
const HEADER_DEV_NAME: u16 = 2;
const FEATURES_ACTIVE: u16 = 4;
const BITSET_BITS: u16 = 3;
const BITSET_BITS_BIT: u16 = 1;
const BITSET_BIT_NAME: u16 = 2;

/// Attributes of a message that are kept, by their numbers.
type Names = &'static [(u16, &'static str)];

const CHANNELS: Names = &[
    (2, "rx_max"),
    (3, "tx_max"),
    (4, "other_max"),
    (5, "combined_max"),
    (6, "rx"),
    (7, "tx"),
    (8, "other"),
    (9, "combined"),
];
const RINGS: Names = &[
    (2, "rx_max"),
    (5, "tx_max"),
    (6, "rx"),
    (9, "tx"),
    (10, "rx_buf_len"),
];
const COALESCE: Names = &[
    (2, "rx_usecs"),
    (3, "rx_frames"),
    (4, "rx_usecs_irq"),
    (5, "rx_frames_irq"),
    (6, "tx_usecs"),
    (7, "tx_frames"),
    (8, "tx_usecs_irq"),
    (9, "tx_frames_irq"),
    (11, "adaptive_rx"),
    (12, "adaptive_tx"),
];

type Figures = BTreeMap<&'static str, u64>;

#[derive(Debug, Default, Serialize)]
struct Device {
    driver: Option<String>,
    /// The driver's and its firmware's.
    version: Option<String>,
    firmware: Option<String>,
    channels: Figures,
    rings: Figures,
    coalesce: Figures,
    /// Those that are on.
    features: Vec<String>,
    private_flags: Vec<String>,
    /// Entries of the table that packets' hashes point into, by receive queue.
    indirection: BTreeMap<u32, u32>,
    /// Fields that packets are hashed by, by the kind of flow.
    hashed_fields: BTreeMap<&'static str, String>,
    /// The driver's own counters that are not zero.
    statistics: BTreeMap<String, u64>,
    /// What the driver does not tell, and why.
    missing: BTreeMap<&'static str, String>,
}

/// A member for each physical device: `<device>.json`.
pub(super) fn read(place: &Place<'_>) -> Result<Vec<(String, Vec<u8>)>, String> {
    let devices = physical(place)?;
    let mut socket = Socket::open(Some(GENERIC), place);
    let family = match &mut socket {
        Ok(socket) => family(socket),
        Err(error) => Err(error.clone()),
    };
    let asking = Asking::open()?;
    let mut members = Vec::new();
    for name in devices {
        let mut device = Device::of(&name, place);
        if place.time_left().is_zero() {
            device.miss("all", "there was no time left");
        } else {
            match (socket.as_mut().map_err(|error| &*error), &family) {
                (Ok(socket), Ok(family)) => device.take_settings(socket, *family, &name),
                (Err(error), _) | (_, Err(error)) => {
                    device.miss("channels, rings, coalesce, features", error);
                }
            }
            device.take_driver(&asking, &name);
        }
        let mut json = serde_json::to_vec_pretty(&device).map_err(|error| error.to_string())?;
        json.push(b'\n');
        members.push((format!("{name}.json"), json));
    }
    Ok(members)
}

/// Devices that a bus knows, the busiest first.
fn physical(place: &Place<'_>) -> Result<Vec<String>, String> {
    let text = place.text("/proc/net/dev", place.limits.file_bytes)?;
    let mut devices = busiest_interfaces(&text);
    devices.retain(|name| {
        let device = place.root.path(&format!("/sys/class/net/{name}/device"));
        device.exists()
    });
    devices.truncate(DEVICES);
    if devices.is_empty() {
        return Err("there is no physical network device".to_owned());
    }
    Ok(devices)
}

fn family(socket: &mut Socket) -> Result<u16, String> {
    let mut request = vec![CTRL_CMD_GETFAMILY, 1, 0, 0];
    put(&mut request, CTRL_ATTR_FAMILY_NAME, b"ethtool\0");
    let mut id = None;
    let asked = socket.ask(GENL_ID_CTRL, Ask::One, &request, |_, payload| {
        let rest = payload.get(GENLMSG..).unwrap_or_default();
        id = attribute(rest, CTRL_ATTR_FAMILY_ID).and_then(number);
    });
    let none = "the kernel has no ethtool netlink (CONFIG_ETHTOOL_NETLINK, 5.6)";
    asked.map_err(|error| format!("{none}: {error}"))?;
    let id = id.and_then(|id| u16::try_from(id).ok());
    id.ok_or_else(|| none.to_owned())
}

impl Device {
    fn of(name: &str, place: &Place<'_>) -> Self {
        let driver = std::fs::read_link(
            place
                .root
                .path(&format!("/sys/class/net/{name}/device/driver")),
        );
        Self {
            driver: driver.ok().and_then(|path| {
                let name = path.file_name()?;
                Some(name.to_string_lossy().into_owned())
            }),
            ..Self::default()
        }
    }

    fn miss(&mut self, what: &'static str, error: &str) {
        self.missing.insert(what, error.to_owned());
    }

    fn take_settings(&mut self, socket: &mut Socket, family: u16, name: &str) {
        let missing = &mut self.missing;
        let mut ask = |what: &'static str, command: u8, each: &mut dyn FnMut(&[u8])| {
            let (mut request, mut header) = (vec![command, 1, 0, 0], Vec::new());
            put(
                &mut header,
                HEADER_DEV_NAME,
                &[name.as_bytes(), b"\0"].concat(),
            );
            put(&mut request, HEADER | NLA_F_NESTED, &header);
            let asked = socket.ask(family, Ask::One, &request, |kind, payload| {
                if kind == family {
                    each(payload.get(GENLMSG..).unwrap_or_default());
                }
            });
            if let Err(error) = asked {
                missing.insert(what, error);
            }
        };
        ask("channels", CHANNELS_GET, &mut |rest| {
            self.channels = figures(rest, CHANNELS);
        });
        ask("rings", RINGS_GET, &mut |rest| {
            self.rings = figures(rest, RINGS);
        });
        ask("coalesce", COALESCE_GET, &mut |rest| {
            self.coalesce = figures(rest, COALESCE);
        });
        ask("features", FEATURES_GET, &mut |rest| {
            self.features = active(rest);
        });
    }

    fn take_driver(&mut self, asking: &Asking, name: &str) {
        match asking.driver(name) {
            Ok(driver) => {
                let said = |text: &String| (!text.is_empty()).then(|| text.clone());
                self.version = said(&driver.version);
                self.firmware = said(&driver.firmware);
                self.statistics = self.or_missing("statistics", asking.statistics(name, &driver));
                self.private_flags = self.or_missing("private_flags", asking.flags(name, &driver));
            }
            Err(error) => self.miss("statistics, private_flags", &error),
        }
        self.indirection = self.or_missing("indirection", asking.indirection(name));
        self.hashed_fields = self.or_missing("hashed_fields", asking.hashed_fields(name));
    }

    fn or_missing<T: Default>(&mut self, what: &'static str, answer: Result<T, String>) -> T {
        answer.unwrap_or_else(|error| {
            self.miss(what, &error);
            T::default()
        })
    }
}

fn figures(bytes: &[u8], names: Names) -> Figures {
    let named = attributes(bytes).filter_map(|(kind, value)| {
        let (_, name) = names.iter().find(|(wanted, _)| *wanted == kind)?;
        Some((*name, number(value)?))
    });
    named.collect()
}

/// Names of the bits that are set: a list of bits without a mask has those alone.
fn active(bytes: &[u8]) -> Vec<String> {
    let set = attribute(bytes, FEATURES_ACTIVE).unwrap_or_default();
    let bits = attribute(set, BITSET_BITS).unwrap_or_default();
    let names = attributes(bits)
        .filter(|(kind, _)| *kind == BITSET_BITS_BIT)
        .filter_map(|(_, bit)| attribute(bit, BITSET_BIT_NAME).map(text));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_names_and_features_are_those_that_are_on() {
        let mut bytes = Vec::new();
        put(&mut bytes, 9, &8_u32.to_ne_bytes());
        put(&mut bytes, 77, &1_u32.to_ne_bytes());
        assert_eq!(figures(&bytes, CHANNELS), BTreeMap::from([("combined", 8)]));
        let (mut bit, mut bits, mut set, mut answer) = (vec![], vec![], vec![], vec![]);
        put(&mut bit, BITSET_BIT_NAME, b"rx-gro\0");
        put(&mut bits, BITSET_BITS_BIT | 0x8000, &bit);
        put(&mut set, BITSET_BITS | 0x8000, &bits);
        put(&mut answer, FEATURES_ACTIVE | 0x8000, &set);
        assert_eq!(active(&answer), ["rx-gro"]);
    }
}
