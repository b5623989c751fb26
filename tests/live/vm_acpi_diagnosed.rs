//! Causes that firmware makes: provoked in a VM, whose QEMU does what it is told to, and found by a diagnosis.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use kctx_tests::{left_out::left_out, qmp::Monitor};

use crate::{
    alone,
    vm::check_found,
    vm_machine::{capture_during, only_in_a_vm},
};

/// How long each lasts.
const LASTS: Duration = Duration::from_secs(5);

/// A device without a driver, and where it is.
const ADD: &str = r#"{"driver": "pci-testdev", "id": "plugged", "addr": "0x1d"}"#;
const DELETE: &str = r#"{"id": "plugged"}"#;
const PLUGGED: &str = "/sys/bus/pci/devices/0000:00:1d.0";

/// For some seconds at most.
fn wait_until(mut is_so: impl FnMut() -> bool) -> Result<()> {
    let begun = Instant::now();
    while !is_so() {
        ensure!(
            begun.elapsed() < Duration::from_secs(10),
            "the device stays as it is"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Devices that are plugged in and out without end: each time is an event of the firmware.
#[test]
#[ignore = "plugs devices in and out: in a VM only, by cargo xtask vm"]
fn vm_events_of_the_firmware_are_found() -> Result<()> {
    let _alone = alone();
    only_in_a_vm()?;
    let Some(mut monitor) = Monitor::open()? else {
        left_out("this machine has no monitor");
        return Ok(());
    };
    let bundle = capture_during(|| {
        let begun = Instant::now();
        while begun.elapsed() < LASTS {
            // The last one is gone from here a moment before it is from there.
            wait_until(|| monitor.execute("device_add", ADD).is_ok())?;
            wait_until(|| Path::new(PLUGGED).exists())?;
            monitor.execute("device_del", DELETE)?;
            wait_until(|| !Path::new(PLUGGED).exists())?;
        }
        Ok(())
    })?;
    check_found(&bundle, "IRQ-GPE");
    Ok(())
}
