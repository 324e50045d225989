//! Makes `OUT_DIR/guest_player.wasm`, the component of the default player that the host carries.
//!
//! The same source gives other bytes with another compiler, and a player's code is known by the
//! hash of its bytes. So that all builds of one commit agree on that hash, the component is
//! committed beside its source, with a digest of the source it was built from:
//!
//! - the digest fits the source: the committed component is used, and no WebAssembly toolchain is
//!   needed;
//! - it does not fit: the component is rebuilt, or the build fails and says what is missing.
//!
//! The environment variable `PLAYER_GUEST` asks for more: `rebuild` builds from source, demands that
//! the digest fits and compares the worlds (for CI); `commit` also writes the component and its digest
//! back beside the source.

#[path = "build/source.rs"]
mod source;
#[path = "build/toolchain.rs"]
mod toolchain;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use source::Source;
use toolchain::Toolchain;
use wit_component::{ComponentEncoder, WitPrinter};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ASK: &str = "PLAYER_GUEST";
const COMMIT: &str = "PLAYER_GUEST=commit cargo build -p host";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    println!("cargo:rerun-if-env-changed={ASK}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    let workspace = path("CARGO_MANIFEST_DIR")?.join("..").canonicalize()?;
    let out = path("OUT_DIR")?;
    let source = Source::read(&workspace)?;
    let committed = Committed::of(&workspace);
    committed.watch();

    let component = match env::var(ASK).ok().as_deref() {
        None | Some("") if committed.fits(&source) => fs::read(&committed.component)?,
        None | Some("") => {
            let component = rebuild(&workspace, &out)?;
            println!(
                "cargo:warning=the built-in player's source differs from the committed component, \
                 so other builds know it by another hash; `{COMMIT}` commits it"
            );
            component
        }
        Some("rebuild") => {
            if !committed.fits(&source) {
                let why = "the committed component was built from another source";
                return Err(format!("{why}; commit a new one: {COMMIT}").into());
            }
            let component = rebuild(&workspace, &out)?;
            if world(&component)? != world(&fs::read(&committed.component)?)? {
                let why = "the committed component has another world than its source";
                return Err(format!("{why}; commit a new one: {COMMIT}").into());
            }
            component
        }
        Some("commit") => {
            let component = rebuild(&workspace, &out)?;
            committed.write(&component, &source)?;
            component
        }
        Some(other) => return Err(format!("{ASK} is `rebuild` or `commit`, not `{other}`").into()),
    };
    fs::write(out.join("guest_player.wasm"), component)?;
    Ok(())
}

/// Returns a path that cargo gives to build scripts.
fn path(variable: &str) -> Result<PathBuf> {
    let value = env::var_os(variable).ok_or_else(|| format!("{variable} is not set"))?;
    Ok(PathBuf::from(value))
}

/// Builds the component from its source.
fn rebuild(workspace: &Path, out: &Path) -> Result<Vec<u8>> {
    let module = Toolchain::find()?.build(workspace, &out.join("guest-target"))?;
    let component = ComponentEncoder::default().module(&fs::read(module)?)?.encode()?;
    Ok(component)
}

/// Returns the world of a component as text.
fn world(component: &[u8]) -> Result<String> {
    let decoded = wit_component::decode(component)?;
    let mut printer = WitPrinter::default();
    printer.print(decoded.resolve(), decoded.package(), &[])?;
    Ok(String::from(printer.output))
}

/// The component beside its source.
struct Committed {
    component: PathBuf,
    digest: PathBuf,
}

impl Committed {
    fn of(workspace: &Path) -> Self {
        let folder = workspace.join("guest-player");
        Self {
            component: folder.join("guest_player.component.wasm"),
            digest: folder.join("guest_player.digest"),
        }
    }

    fn watch(&self) {
        println!("cargo:rerun-if-changed={}", self.component.display());
        println!("cargo:rerun-if-changed={}", self.digest.display());
    }

    fn fits(&self, source: &Source) -> bool {
        let digest = fs::read_to_string(&self.digest);
        self.component.exists() && digest.is_ok_and(|digest| digest.trim() == source.digest())
    }

    fn write(&self, component: &[u8], source: &Source) -> Result<()> {
        fs::write(&self.component, component)?;
        fs::write(&self.digest, format!("{}\n", source.digest()))?;
        Ok(())
    }
}
