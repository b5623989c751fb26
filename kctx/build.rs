//! Embeds the BPF object that `cargo xtask` built, where there is one.

use std::{env, path::Path};

fn main() {
    println!("cargo:rustc-check-cfg=cfg(kctx_live)");
    println!("cargo:rerun-if-env-changed=KCTX_BPF_OBJECT");
    let Ok(object) = env::var("KCTX_BPF_OBJECT") else {
        return;
    };
    println!("cargo:rerun-if-changed={object}");
    if Path::new(&object).is_file() {
        println!("cargo:rustc-cfg=kctx_live");
        println!("cargo:rustc-env=KCTX_BPF_OBJECT={object}");
    } else {
        println!(
            "cargo:warning=KCTX_BPF_OBJECT={object} is no file; building without live capture"
        );
    }
}
