use super::*;

fn parse(text: &str) -> Result<ConfigFile, FileError> {
    ConfigFile::parse(Path::new("/etc/host.toml"), text)
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn each_flag_of_a_running_node_is_a_key() {
    let mut program = Args::command();
    program.build();
    let mut count = 0;
    for flag in program.get_arguments().filter(|flag| !flag.is_hide_set()) {
        let long = flag.get_long().unwrap();
        // They say where the keys are, or are no business of a node that runs.
        if ["config", "help", "version"].contains(&long) {
            continue;
        }
        // Good or not, its value is looked at.
        if let Err(error) = parse(&format!("{long} = 'x'")) {
            let wrong = matches!(error, FileError::Value { .. } | FileError::Kind { .. });
            assert!(wrong, "{error}");
        }
        count += 1;
    }
    assert!(count >= 14, "{count} flags");
}

#[test]
fn what_is_no_flag_is_none() {
    for key in ["config", "stop-with-stdin", "help", "node"] {
        let message = refused(&format!("{key} = 'x'"));
        assert!(message.starts_with(&format!("a node has no flag --{key}")), "{message}");
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_one_that_was_meant() {
    for (key, meant) in
        [("lisen", "listen"), ("data_dir", "data-dir"), ("idle", "idle-after"), ("JOIN", "join")]
    {
        assert_eq!(
            refused(&format!("# a node\nname = 'n'\n\n{key} = 'x'\n")),
            format!("a node has no flag --{key}; did you mean `{meant}`? (/etc/host.toml, line 4)")
        );
    }
}

#[test]
fn a_value_that_its_flag_does_not_take_is_named_with_its_line() {
    for (text, sentence) in [
        (
            "\ninstances-max = 0",
            "invalid value '0' for '--instances-max <N>': 0 is not in 1..=4294967295 \
             (/etc/host.toml, line 2)",
        ),
        ("listen = true", "`listen` is true or false; expected a text or a whole number, as"),
        ("listen = ['a']", "`listen` is a list; expected a text or a whole number, as"),
        ("join = [1.5]", "`join` is a number with a point; expected a text or a list of texts"),
        ("json = 'yes'", "`json` is a text; expected true or false, as for --json"),
        ("[name]", "`name` is a table; expected a text"),
        ("name = 'a'\nname = 'b'", "duplicate key (/etc/host.toml, line 2)"),
        ("name = 'a'\nname", "not TOML"),
        ("name = 'a'\n\nlisten = 'b", "line 3)"),
    ] {
        let message = refused(text);
        assert!(message.contains(sentence), "{text}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn values_are_what_would_be_typed_and_paths_are_beside_the_file() {
    let text = "name = 'n'\njoin = ['a:1', 'b:2']\nkeepers = 2\njson = true\n\
                data-dir = 'data'\nsecret-file = '/run/secret'";
    let file = parse(text).unwrap();
    let typed = ["host", "--name", "other"].map(OsString::from);
    let words = file.behind(&typed, &|id| id != "name");
    let args = Args::read(words).unwrap();
    assert_eq!(args.node.name.as_deref(), Some("other"), "flags beat the file");
    assert_eq!(args.node.join, ["a:1", "b:2"]);
    assert_eq!(args.node.keepers.as_deref(), Some("2"));
    assert_eq!(args.node.data_dir.as_deref(), Some(Path::new("/etc/data")));
    assert_eq!(args.shared.secret_file.as_deref(), Some(Path::new("/run/secret")));
    assert!(args.shared.json);
    assert_eq!((file.line("name"), file.line("data_dir")), (Some(1), Some(5)));
}

#[test]
fn what_is_no_text_or_too_long_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("host.toml");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        ConfigFile::read(&path).unwrap_err().to_string()
    };
    assert!(read(b"name = 'n'\n\xff").ends_with("line 2)"));
    assert!(read(&vec![b'#'; 1024 * 1024 + 1]).ends_with("has more than 1048576 bytes"));
    assert!(matches!(ConfigFile::read(folder.path()), Err(FileError::Unreadable { .. })));
}
