//! Netfilter by numbers, by nfnetlink: tables, chains, hooks, and how many rules. No rule, no set, no address.

use std::collections::BTreeMap;

use rustix::net::netlink::NETFILTER;
use serde::Serialize;

use crate::host::{HostRoot, kernel_config::KernelConfig};

use super::{
    netlink::{Ask, Socket, attribute, text},
    place::Place,
};

/// include/uapi/linux/netfilter/nfnetlink.h
const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// include/uapi/linux/netfilter/nf_tables.h
const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_USE: u16 = 6;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
/// `struct nfgenmsg`
const NFGENMSG: usize = 4;
/// Chains listed; all are counted.
const CHAINS: usize = 1000;

#[derive(Debug, Default, Serialize)]
struct Tables {
    /// Tables in all.
    tables: usize,
    /// Chains in all.
    chains: usize,
    /// Rules in all, jumps to chains too.
    rules: u64,
    by_table: Vec<Table>,
}

#[derive(Debug, Serialize)]
struct Table {
    family: &'static str,
    name: String,
    chains: Vec<Chain>,
}

/// One chain.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Chain {
    name: String,
    /// Of a chain that packets come to by a hook: `input`, `prerouting`.
    #[serde(skip_serializing_if = "Option::is_none")]
    hook: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// Rules in it; of a chain that others jump to, the jumps too (the kernel's `use`).
    rules: u32,
}

/// Asked for what is not loaded, the kernel loads it (`nfnetlink_rcv_msg`, net/netfilter/nfnetlink.c): that would change the machine,
/// and takes as long as modprobe does. An error says that it is not there.
fn is_loaded(root: &HostRoot) -> Result<(), String> {
    let Ok(modules) = root.read_bounded("/proc/modules", 1 << 20) else {
        // A kernel without modules loads none.
        return Ok(());
    };
    let modules = String::from_utf8_lossy(&modules.bytes);
    if modules.lines().any(|line| line.starts_with("nf_tables ")) {
        return Ok(());
    }
    let release = root.read_line("/proc/sys/kernel/osrelease");
    match KernelConfig::find(root, &release.unwrap_or_default()) {
        Ok(config) if config.get("CONFIG_NF_TABLES") == Some("y") => Ok(()),
        Ok(_) => Err("nf_tables is not loaded: there is no table".to_owned()),
        Err(error) => Err(format!(
            "nf_tables is no loaded module, and asking might load it: {error}"
        )),
    }
}

pub(super) fn read(place: &Place<'_>) -> Result<Vec<u8>, String> {
    is_loaded(place.root)?;
    let mut tables: BTreeMap<(u8, String), Vec<Chain>> = BTreeMap::new();
    let (mut chains, mut rules) = (0, 0_u64);
    let needs = |error: String| match error.contains("not permitted") {
        true => format!("nfnetlink: {error} (it takes CAP_NET_ADMIN)"),
        false => format!("nfnetlink: {error}"),
    };
    let mut socket = Socket::open(Some(NETFILTER), place)?;
    let mut ask = |what: u16, each: &mut dyn FnMut(u8, &[u8])| {
        let kind = NFNL_SUBSYS_NFTABLES << 8 | what;
        let answer = socket.ask(kind, Ask::All, &[0; NFGENMSG], |_, payload| {
            if let Some((head, rest)) = payload.split_at_checked(NFGENMSG) {
                each(head[0], rest);
            }
        });
        answer.map_err(needs)
    };
    ask(NFT_MSG_GETTABLE, &mut |family, rest| {
        if let Some(name) = attribute(rest, NFTA_TABLE_NAME) {
            tables.entry((family, text(name))).or_default();
        }
    })?;
    ask(NFT_MSG_GETCHAIN, &mut |family, rest| {
        if let Some((table, chain)) = parse_chain(family, rest) {
            chains += 1;
            rules += u64::from(chain.rules);
            if chains <= CHAINS {
                tables.entry((family, table)).or_default().push(chain);
            }
        }
    })?;
    let tables = Tables {
        tables: tables.len(),
        chains,
        rules,
        by_table: tables
            .into_iter()
            .map(|((family, name), chains)| Table {
                family: family_name(family),
                name,
                chains,
            })
            .collect(),
    };
    let mut json = serde_json::to_vec_pretty(&tables).map_err(|error| error.to_string())?;
    json.push(b'\n');
    Ok(json)
}

/// A chain and the table it is in. Netfilter's numbers are in network order.
fn parse_chain(family: u8, bytes: &[u8]) -> Option<(String, Chain)> {
    let number = |value: &[u8]| Some(u32::from_be_bytes(value.try_into().ok()?));
    let hook = attribute(bytes, NFTA_CHAIN_HOOK);
    let of_hook = |kind| number(attribute(hook?, kind)?);
    let chain = Chain {
        name: text(attribute(bytes, NFTA_CHAIN_NAME)?),
        hook: of_hook(NFTA_HOOK_HOOKNUM).map(|hook| hook_name(family, hook)),
        priority: of_hook(NFTA_HOOK_PRIORITY).map(|priority| priority as i32),
        kind: attribute(bytes, NFTA_CHAIN_TYPE).map(text),
        rules: attribute(bytes, NFTA_CHAIN_USE)
            .and_then(number)
            .unwrap_or(0),
    };
    Some((text(attribute(bytes, NFTA_CHAIN_TABLE)?), chain))
}

/// `NFPROTO_*` (include/uapi/linux/netfilter.h)
fn family_name(family: u8) -> &'static str {
    match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
}

/// `nf_inet_hooks`, `nf_dev_hooks`
fn hook_name(family: u8, hook: u32) -> String {
    let inet = [
        "prerouting",
        "input",
        "forward",
        "output",
        "postrouting",
        "ingress",
    ];
    let (netdev, arp) = (["ingress", "egress"], ["input", "output", "forward"]);
    let names: &[&str] = match family {
        3 => &arp,
        5 => &netdev,
        _ => &inet,
    };
    let name = names.get(hook as usize);
    name.map_or_else(|| hook.to_string(), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::put, *};

    #[test]
    fn what_is_not_loaded_is_not_asked() {
        let folder = tempfile::tempdir().unwrap();
        let root = HostRoot::new(folder.path());
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        // No modules at all.
        assert_eq!(is_loaded(&root), Ok(()));
        write("proc/modules", "nf_tables_x 1 0 - Live 0x0\n");
        assert!(is_loaded(&root).is_err_and(|why| why.contains("might load it")));
        write("proc/sys/kernel/osrelease", "6.1.0-1-amd64\n");
        write("boot/config-6.1.0-1-amd64", "CONFIG_NF_TABLES=m\n");
        assert!(is_loaded(&root).is_err_and(|why| why.contains("no table")));
        write("boot/config-6.1.0-1-amd64", "CONFIG_NF_TABLES=y\n");
        assert_eq!(is_loaded(&root), Ok(()));
        write("boot/config-6.1.0-1-amd64", "CONFIG_NF_TABLES=m\n");
        write("proc/modules", "nf_tables 376832 67 - Live 0x0\n");
        assert_eq!(is_loaded(&root), Ok(()));
    }

    #[test]
    fn a_chain_has_its_hook_and_its_number_of_rules() {
        let (mut hook, mut bytes) = (Vec::new(), Vec::new());
        put(&mut hook, NFTA_HOOK_HOOKNUM, &1_u32.to_be_bytes());
        put(&mut hook, NFTA_HOOK_PRIORITY, &(-150_i32).to_be_bytes());
        put(&mut bytes, NFTA_CHAIN_TABLE, b"slow\0");
        put(&mut bytes, NFTA_CHAIN_NAME, b"in\0");
        put(&mut bytes, NFTA_CHAIN_HOOK, &hook);
        put(&mut bytes, NFTA_CHAIN_USE, &2000_u32.to_be_bytes());
        put(&mut bytes, NFTA_CHAIN_TYPE, b"filter\0");
        let chain = Chain {
            name: "in".to_owned(),
            hook: Some("input".to_owned()),
            priority: Some(-150),
            kind: Some("filter".to_owned()),
            rules: 2000,
        };
        assert_eq!(parse_chain(1, &bytes), Some(("slow".to_owned(), chain)));
        assert_eq!(parse_chain(1, b""), None);
    }
}
