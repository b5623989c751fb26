//! QEMU's device for teaching (docs/specs/edu.rst there): its interrupt is raised when it is told to, and stays so until that is
//! acknowledged. No driver claims it.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use memmap2::{MmapOptions, MmapRaw};

/// "Interrupt raise register" and "interrupt acknowledge register", bytes from the start of BAR 0.
const RAISE: usize = 0x60;
const ACKNOWLEDGE: usize = 0x64;
/// All that is needed of its registers.
const MAPPED: usize = 4096;

/// The device; dropping it acknowledges what was raised.
pub struct Edu {
    registers: MmapRaw,
}

impl Edu {
    /// The first one, if the machine has any.
    pub fn find() -> Result<Option<Self>> {
        let Some(device) = device()? else {
            return Ok(None);
        };
        fs::write(device.join("enable"), "1").context("cannot enable the device")?;
        let registers = File::options()
            .read(true)
            .write(true)
            .open(device.join("resource0"))
            .context("cannot open the device's registers")?;
        let registers = MmapOptions::new().len(MAPPED).map_raw(&registers);
        let registers = registers.context("cannot map the device's registers")?;
        Ok(Some(Self { registers }))
    }

    /// Raises its interrupt.
    pub fn raise(&self) {
        self.write(RAISE, 1);
    }

    /// Takes it back.
    pub fn acknowledge(&self) {
        self.write(ACKNOWLEDGE, 1);
    }

    #[allow(unsafe_code)]
    fn write(&self, register: usize, value: u32) {
        // SAFETY: mapped for as long as this lives, and both registers lie in it, aligned.
        unsafe {
            let register = self.registers.as_mut_ptr().add(register).cast::<u32>();
            register.write_volatile(value);
        }
    }
}

impl Drop for Edu {
    fn drop(&mut self) {
        self.acknowledge();
    }
}

/// Its folder in sysfs.
fn device() -> Result<Option<PathBuf>> {
    let devices = fs::read_dir("/sys/bus/pci/devices").context("no PCI")?;
    for device in devices {
        let device = device?.path();
        let is = |file: &str, id: &str| {
            fs::read_to_string(device.join(file)).is_ok_and(|text| text.trim() == id)
        };
        if is("vendor", "0x1234") && is("device", "0x11e8") {
            return Ok(Some(device));
        }
    }
    Ok(None)
}
