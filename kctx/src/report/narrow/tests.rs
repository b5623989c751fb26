use super::*;

#[test]
fn cpus_and_vectors_are_lists() {
    assert_eq!(parse_cpus("0-2,5"), Ok(BTreeSet::from([0, 1, 2, 5])));
    assert!(parse_cpus("").is_err() && parse_cpus("x").is_err());
    assert_eq!(parse_vectors("net_rx, TIMER"), Ok(BTreeSet::from([1, 3])));
    assert!(parse_vectors("NET").is_err_and(|error| error.contains("NET_RX")));
}

#[test]
fn a_cpu_that_the_machine_has_not_is_told() {
    let host = |list: &str| HostIdentity {
        cpu_list: list.to_owned(),
        ..HostIdentity::default()
    };
    let wanted = BTreeSet::from([1, 7]);
    let missing = NarrowError::NoSuchCpu(7, "0-3".to_owned());
    assert_eq!(check_cpus(&wanted, &host("0-3")), Err(missing));
    assert_eq!(check_cpus(&wanted, &host("0-7")), Ok(()));
    assert_eq!(check_cpus(&wanted, &host("")), Ok(()), "it does not say");
}
