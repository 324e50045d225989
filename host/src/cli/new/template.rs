//! What a new guest is made of. Pure.
//!
//! What the players in `guests` have, too, is taken from there.

use clap::ValueEnum;

use super::GuestName;

/// Stands for the guest's name in a template.
const NAME: &str = "NAME";

/// A language that guests are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Language {
    /// Rust, built by cargo
    Rust,
    /// JavaScript, by componentize-js
    Js,
    /// Python, by componentize-py
    Python,
    /// C, by clang
    C,
}

/// A file to be written.
#[derive(Debug)]
pub(super) struct File {
    /// Where, from the guest's folder, with `/`.
    pub(super) path: &'static str,
    /// What is in it.
    pub(super) text: String,
    /// Whether it can be run.
    pub(super) is_program: bool,
}

impl Language {
    /// All of them.
    #[cfg(test)]
    pub(super) const ALL: [Self; 4] = [Self::Rust, Self::Js, Self::Python, Self::C];

    /// Returns its name, for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Js => "JavaScript",
            Self::Python => "Python",
            Self::C => "C",
        }
    }

    /// Returns the file that has a guest's rules.
    pub(super) fn rules(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::Js => "player.js",
            Self::Python => "player.py",
            Self::C => "player.c",
        }
    }

    /// Returns what only guests in this language have: paths and texts, as they are.
    fn files(self) -> &'static [(&'static str, &'static str)] {
        macro_rules! template {
            ($file:literal) => {
                include_str!(concat!("../../../templates/", $file))
            };
        }
        macro_rules! guest {
            ($file:literal) => {
                include_str!(concat!("../../../../guests/", $file))
            };
        }
        match self {
            Self::Rust => &[
                ("build", template!("rust/build")),
                ("Cargo.toml", template!("rust/Cargo.toml")),
                ("src/lib.rs", template!("rust/src/lib.rs")),
            ],
            Self::Js => &[
                ("build", template!("js/build")),
                ("componentize.js", template!("js/componentize.js")),
                ("package.json", template!("js/package.json")),
                ("package-lock.json", guest!("js-player/package-lock.json")),
                ("player.js", template!("js/player.js")),
                ("saved.js", guest!("js-player/saved.js")),
            ],
            Self::Python => &[
                ("build", template!("python/build")),
                ("player.py", template!("python/player.py")),
                ("requirements.txt", guest!("py-player/requirements.txt")),
                ("saved.py", guest!("py-player/saved.py")),
            ],
            Self::C => &[
                ("build", template!("c/build")),
                ("component_type.c", template!("c/component_type.c")),
                ("player.c", template!("c/player.c")),
                ("player.h", template!("c/player.h")),
                ("saved.c", guest!("c-player/saved.c")),
                ("saved.h", guest!("c-player/saved.h")),
            ],
        }
    }

    /// Returns what the README says of the files and tools of this language.
    fn about(self) -> &'static str {
        match self {
            Self::Rust => include_str!("../../../templates/rust/files.md"),
            Self::Js => include_str!("../../../templates/js/files.md"),
            Self::Python => include_str!("../../../templates/python/files.md"),
            Self::C => include_str!("../../../templates/c/files.md"),
        }
    }
}

/// Returns all files of a new guest.
pub(super) fn files(language: Language, name: &GuestName) -> Vec<File> {
    let readme = include_str!("../../../templates/README.md")
        .replace("LANGUAGE", language.name())
        .replace("FILES", language.about().trim_end());
    let shared = [
        (".gitignore", include_str!("../../../templates/gitignore")),
        ("README.md", &readme),
        ("wit/rules.wit", include_str!("../../../templates/wit/rules.wit")),
        ("wit/deps/player-host/player.wit", include_str!("../../../../wit/player.wit")),
    ];
    let all = language.files().iter().copied().chain(shared);
    let file = |(path, text): (&'static str, &str)| {
        // The lock file of a player in `guests` has that player's name.
        let text = text.replace("js-player", NAME).replace(NAME, name.as_str());
        File { path, text, is_program: path == "build" }
    };
    all.map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(language: Language, path: &str) -> String {
        let files = files(language, &"my-player".parse().unwrap());
        files.into_iter().find(|file| file.path == path).unwrap().text
    }

    #[test]
    fn nothing_of_a_template_is_left() {
        for language in Language::ALL {
            for File { path, text, .. } in files(language, &"my-player".parse().unwrap()) {
                for word in ["NAME", "FILES", "LANGUAGE", "js-player"] {
                    assert!(!text.contains(word), "{path} of {language:?} has {word}");
                }
            }
            let readme = text_of(language, "README.md");
            assert!(
                readme.contains("# my-player") && readme.contains("host dev --guest"),
                "{readme}"
            );
            assert!(readme.contains(language.rules()), "{readme}");
        }
    }

    #[test]
    fn what_is_pinned_here_is_what_this_workspace_has() {
        let version = |of: &str, line: &str| {
            let found = of.lines().find(|text| text.trim_start().starts_with(line));
            found.unwrap_or_default().trim().trim_end_matches(',').to_owned()
        };
        let workspace = include_str!("../../../../Cargo.toml");
        let new = text_of(Language::Rust, "Cargo.toml");
        for line in ["postcard =", "serde =", "wit-bindgen ="] {
            assert_eq!(version(&new, line), version(workspace, line));
        }
        let guest = include_str!("../../../../guests/js-player/package.json");
        let new = text_of(Language::Js, "package.json");
        for line in
            ["\"@bytecodealliance/componentize-js\":", "\"@bytecodealliance/preview2-shim\":"]
        {
            assert_eq!(version(&new, line), version(guest, line));
        }
    }
}
