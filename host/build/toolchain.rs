//! Finds a Rust toolchain that can build for WebAssembly, and uses it.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{COMMIT, Result, path};

const TARGET: &str = "wasm32-unknown-unknown";

/// The guest's profile: small, and a panic is a trap.
const PROFILE: [(&str, &str); 6] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
];

/// What is kept of the environment's `CARGO_*`: where packages come from. Everything else speaks of
/// the build that this script belongs to.
const KEPT: [&str; 5] =
    ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_"];

/// A compiler and its cargo.
pub(super) struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    std: Std,
}

/// Where the guest's standard library comes from.
enum Std {
    /// The toolchain has it.
    Ready,
    /// It is built along from its source and linked with this linker.
    FromSource { linker: PathBuf },
}

impl Toolchain {
    /// Prefers the toolchain that builds the host, then the system's.
    pub(super) fn find() -> Result<Self> {
        let running = sysroot(&path("RUSTC")?)?;
        let system = PathBuf::from("/usr");
        let candidates = [
            (path("CARGO")?, running.join("bin").join(file_name("rustc")), running.clone()),
            (system.join("bin/cargo"), system.join("bin/rustc"), system),
        ];
        let linker = linker(&running);
        candidates
            .into_iter()
            .filter(|(cargo, rustc, _)| cargo.exists() && rustc.exists())
            .find_map(|(cargo, rustc, sysroot)| {
                let rustlib = sysroot.join("lib/rustlib");
                let std = if rustlib.join(TARGET).join("lib").is_dir() {
                    Std::Ready
                } else if rustlib.join("src/rust/library/std").is_dir() {
                    Std::FromSource { linker: linker.clone()? }
                } else {
                    return None;
                };
                Some(Self { cargo, rustc, std })
            })
            .ok_or_else(|| missing().into())
    }

    /// Builds the guest and returns the path of its core module.
    pub(super) fn build(&self, workspace: &Path, target: &Path) -> Result<PathBuf> {
        let mut command = Command::new(&self.cargo);
        for (name, _) in env::vars_os().filter(|(name, _)| is_of_outer_build(name)) {
            command.env_remove(name);
        }
        command
            .current_dir(workspace)
            .env("RUSTC", &self.rustc)
            // No path of this machine in the component.
            .env("CARGO_ENCODED_RUSTFLAGS", remap_paths(workspace))
            .envs(PROFILE)
            .args(["build", "--package", "guest-player", "--lib", "--release", "--locked"])
            .args(["--target", TARGET, "--target-dir"])
            .arg(target);
        if let Std::FromSource { linker } = &self.std {
            command
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                .args(["-Z", "build-std=std,panic_abort"])
                .args(["-Z", "build-std-features=optimize_for_size"]);
        }
        let output = command.output()?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            return Err(format!("cannot build the built-in player:\n{words}").into());
        }
        Ok(target.join(TARGET).join("release/guest_player.wasm"))
    }
}

fn is_of_outer_build(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    let kept = KEPT.iter().any(|prefix| name.starts_with(prefix));
    let outer = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"];
    !kept && outer.iter().any(|prefix| name.starts_with(prefix))
}

fn remap_paths(workspace: &Path) -> OsString {
    let mut flags = OsString::from("--remap-path-prefix=");
    flags.push(workspace);
    flags.push("=");
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    if let Some(home) = home {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(home);
        flags.push("=cargo");
    }
    flags
}

fn sysroot(rustc: &Path) -> Result<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output()?;
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// Returns the linker that Rust carries, as it fits its compiler best, or LLVM's.
fn linker(sysroot: &Path) -> Option<PathBuf> {
    let rustlib = sysroot.join("lib/rustlib").read_dir().into_iter().flatten().flatten();
    let own = rustlib.map(|entry| entry.path().join("bin").join(file_name("rust-lld")));
    let paths = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&paths).map(|folder| folder.join(file_name("wasm-ld")));
    own.chain(in_path.collect::<Vec<_>>()).find(|linker| linker.exists())
}

fn file_name(program: &str) -> String {
    format!("{program}{}", env::consts::EXE_SUFFIX)
}

fn missing() -> String {
    format!(
        "the built-in player must be built from its source, and no toolchain here builds for \
         {TARGET}.\nInstall the target for the toolchain in use and commit a new component:\n\n    \
         rustup target add {TARGET}\n    {COMMIT}\n\nor, without rustup, use Debian's rust-src \
         beside rustc and cargo, and its lld."
    )
}
