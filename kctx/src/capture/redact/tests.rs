use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn redacted(text: &str) -> String {
    Redactor::default().text(text)
}

#[test]
fn addresses_become_pseudonyms_that_keep_equality() {
    for (text, wanted) in [
        (
            "RIP: 0010:ffffffff81234567 RAX: FFFFFFFF81234567 R8 0xffff888100000000\n",
            "RIP: 0010:ptr-1 RAX: ptr-1 R8 ptr-2\n",
        ),
        (
            "[<ffffffffc0a5c010>] f+0x12/0x40 [m]",
            "[<ptr-1>] f+0x12/0x40 [m]",
        ),
        (
            "eth0: de:ad:be:ef:00:01 -> DE-AD-BE-EF-00-01, MAC=de:ad:be:ef:00:02:08:00",
            "eth0: mac-1 -> mac-1, MAC=mac-2",
        ),
        (
            "SRC=10.0.0.1 DST=192.168.7.9 10.0.0.1:80 10.0.0.0/8 addr:10.0.0.1, 010.000.000.001.",
            "SRC=ip-1 DST=ip-2 ip-1:80 ip-3/8 addr:ip-1, ip-1.",
        ),
        ("10.0.0.1-10.0.0.9", "ip-1-ip-2"),
        (
            "fe80::1%eth0 [2001:db8::5]:443 FE80:0:0:0:0:0:0:1 ::ffff:10.0.0.1 10.0.0.1 addr:fe80::1",
            "ip-1%eth0 [ip-2]:443 ip-1 ip-3 ip-3 addr:ip-1",
        ),
        ("root 7F06F7AD-3d8e-2cb5-34b1-87675fbc29f1", "root uuid-1"),
        (
            "usb 1-1: SerialNumber: 4C530001, x",
            "usb 1-1: SerialNumber: serial-1, x",
        ),
        ("login token=abc user=me", "login token=redacted user=me"),
        (
            "password=\"hunter2 sword fish\" user=me",
            "password=redacted user=me",
        ),
        // Five levels of page tables: direct map, vmalloc, vmemmap; and arm64 with 52 bits.
        (
            "ff11000012345678 0xffa0000000012345 ffd4000000000040 fff0000012345678",
            "ptr-1 ptr-2 ptr-3 ptr-4",
        ),
    ] {
        assert_eq!(redacted(text), wanted);
    }
}

#[test]
fn what_is_no_address_stays_as_it_is() {
    for text in [
        "12:34:56.789 2026-11-24T12:34:56Z",
        "std::fmt::Debug bad::face a::b core::ops::add dead::beef",
        "Linux version 6.1.0.12 (gcc 12.2.0) 6.1.0.12-generic linux-6.1.0.12 firmware: 1.2.3.4 v6.1.0.12",
        "b8b5e2a1c2b1c9f4 0000000012345678 00000000bfffe000 fe11000012345678",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ffffffffffffffff ffffffff,ffffffff 0xffff",
        "PCI-MSIX-0000:00:01.0 1-edge 0000:3b:00.0 0000:00:1f.2:",
        "127.0.0.1 0.0.0.0 ::1 :: 255.255.255.0 00:00:00:00:00:00 ff:ff:ff:ff:ff:ff",
        "1.2.3 1.2.3.4.5 300.1.1.1 1.02.3.4 x1.2.3.4",
        "SerialNumber=3 Serial: 8250/16550 driver, 4 ports",
        "eth0 enp3s0f1 ksoftirqd/0 napi/eth0-258 kworker/u8:2-events_unbound",
        "0: 00000078 00000000 0000 00 1 2 3 4:5:6",
        "cpu  12 34 56 :: ok:",
        "",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn of_a_command_line_the_harmless_values_stay() {
    let line = "BOOT_IMAGE=/boot/vmlinuz root=UUID=7f06f7ad-3d8e-2cb5-34b1-87675fbc29f1 ro quiet isolcpus=1-3 \
                rcu_nocbs=1-3 ks=http://h/k?t=x panic=1 workqueue.power_efficient=1 -- --token abc --a=b\n";
    let wanted = "BOOT_IMAGE=redacted root=redacted ro quiet isolcpus=1-3 rcu_nocbs=1-3 ks=redacted panic=1 \
                  workqueue.power_efficient=1 -- --token redacted --a=redacted\n";
    let mut redactor = Redactor::default();
    let file = redactor.file("evidence/before/proc/cmdline", line.as_bytes());
    assert_eq!(String::from_utf8(file).unwrap(), wanted);
    let log = redacted(&format!("6,1,0,-;Kernel command line: {line}"));
    assert_eq!(log, format!("6,1,0,-;Kernel command line: {wanted}"));
    assert_eq!(redactor.counts()["secret"], 5);
}

#[test]
fn a_value_in_quotes_goes_with_all_its_words() {
    let redacted = |line: &str| cmdline::redacted(line, &mut Pseudonyms::default());
    for (line, wanted) in [
        (
            "quiet key=\"hunter2 sword fish\" nohz=off\n",
            "quiet key=redacted nohz=off\n",
        ),
        ("\"key=hunter2 swordfish\" quiet", "\"key=redacted quiet"),
        ("key=\"one\" quiet", "key=redacted quiet"),
        ("key=\"never closed\n", "key=redacted\n"),
        ("isolcpus=\"1 2\" quiet", "isolcpus=\"1 2\" quiet"),
        ("key= quiet", "key= quiet"),
        ("-- \"hunter2 swordfish\" a", "-- redacted redacted"),
    ] {
        assert_eq!(redacted(line), wanted);
    }
}

#[test]
fn an_address_is_the_same_in_texts_records_and_names() {
    let mut redactor = Redactor::default();
    let address = 0xffff_ffff_8123_4567;
    assert_eq!(redactor.text("at ffffffff81234567"), "at ptr-1");
    assert_eq!(redactor.pointers().alias(address), 1);
    let mut name = format!("{address:#x}");
    redactor.function(&mut name);
    assert_eq!(name, "0x1");
    assert_eq!(redactor.pointers().alias(0x7fff_0000), 0x7fff_0000);
}

/// What may stand around an address.
fn around() -> impl Strategy<Value = (String, String)> {
    let before = prop::sample::select(vec![
        "", " ", "[", "(", "=", "addr:", "at ", "<", ", ", "\t",
    ]);
    let after = prop::sample::select(vec!["", " ", "]", ")", ",", "\n", " x", ";", ". "]);
    (before, after).prop_map(|(before, after)| (before.to_owned(), after.to_owned()))
}

proptest! {
    #[test]
    fn no_address_survives(
        pointer in 0xff00_0000_0000_0000_u64..u64::MAX,
        mac in any::<[u8; 6]>(),
        v4 in any::<[u8; 4]>(),
        v6 in any::<[u16; 8]>(),
        (before, after) in around(),
    ) {
        let (v4, v6) = (Ipv4Addr::from(v4), Ipv6Addr::from(v6));
        let mac = mac.map(|byte| format!("{byte:02x}"));
        let mut addresses = vec![format!("{pointer:016x}"), format!("{pointer:#X}").replace('X', "x")];
        if mac.concat().bytes().any(|byte| !matches!(byte, b'0' | b'f')) {
            addresses.extend([mac.join(":"), mac.join("-")]);
        }
        if !v4.is_loopback() && !v4.is_unspecified() && v4.octets()[0] != 255 {
            addresses.push(v4.to_string());
        }
        if !v6.is_loopback() && !v6.is_unspecified() {
            addresses.push(v6.to_string());
            addresses.push(v6.segments().map(|part| format!("{part:04x}")).join(":"));
        }
        for address in addresses {
            let text = format!("{before}{address}{after}");
            let out = redacted(&text);
            prop_assert!(!out.contains(&address), "{:?} -> {:?}", text, out);
            prop_assert!(out.starts_with(&before) && out.ends_with(&after), "{:?} -> {:?}", text, out);
            // Once more changes nothing.
            prop_assert_eq!(redacted(&out), out);
        }
    }

    #[test]
    fn words_numbers_and_hashes_are_not_mangled(
        words in prop::collection::vec("[a-z_]{1,12}|[0-9]{1,20}|[g-z]{2}::[a-z]{1,8}|[0-9a-f]{40}|0x[0-9a-f]{1,8}|[0-9]{1,2}:[0-5][0-9]:[0-5][0-9]|[0-9]{1,3}[.][0-9]{1,3}", 0..12),
    ) {
        let text = words.join(" ");
        prop_assert_eq!(redacted(&text), text);
    }

    #[test]
    fn any_text_is_survived(text in "\\PC{0,200}") {
        let _ = redacted(&text);
    }
}
