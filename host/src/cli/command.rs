//! Lines typed at a prompt. Pure.

use clap::Parser;
use thiserror::Error;

use super::args::DeployArgs;
use super::question::Question;
use crate::protocol::{InvalidId, InvalidSetting, NodeName, SettingsChange};

/// Which prompt a line was typed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The prompt of one node.
    Node,
    /// The prompt of `dev`, which also starts and kills nodes.
    Dev,
}

impl Scope {
    /// Returns the words that begin a line.
    pub(super) fn commands(self) -> &'static [&'static str] {
        const ALL: [&str; 19] = [
            "reward", "points", CALL, "describe", "players", "nodes", "set", "deploy", "code",
            "move", "crash", "export", "import", "help", "quit", "kill", "start", "stop",
            "continue",
        ];
        match self {
            Self::Node => &ALL[..15],
            Self::Dev => &ALL,
        }
    }

    /// Returns the lines that `help` prints.
    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Node => NODE_HELP,
            Self::Dev => DEV_HELP,
        }
    }
}

/// The command after whose function every word is a value.
pub(super) const CALL: &str = "call";

/// Words of that command before its values.
const WORDS_BEFORE_VALUES: usize = 3;

const NODE_HELP: &str = "\
reward <player> <points>  add points and print the new total
points <player>           print a player's points
call <player> <function> [<value> …]
                          call any function, with values like 5, [1, 2], {level: 3}
describe [<player>]       print a player's functions, or those of new players
players [--all]           list the players of this node, or of all nodes
nodes                     list the nodes
set [keepers K] [ack memory|disk]
                          change what holds for the whole cluster, or print it
deploy <file> [--check] [--canary 5%] [--players 'vip-*'] [--pin] [--reset]
                          have the players run other code, while they play
code [list | rollback]    list what was deployed, or take the newest back
move <player> --to <node> have another node run a player
crash <player> | --node <node>
                          let a player crash, or a node, to see that nothing is lost
export <player> <file>    write a player's state to a new file
import <player> <file>    begin a player with the state in a file
help                      print this
quit                      stop this node";

const DEV_HELP: &str = "\
reward <player> <points>  add points and print the new total
points <player>           print a player's points
call <player> <function> [<value> …]
                          call any function, with values like 5, [1, 2], {level: 3}
describe [<player>]       print a player's functions, or those of new players
players [--all]           list the players of the asked node, or of all nodes
nodes                     list the nodes
set [keepers K] [ack memory|disk]
                          change what holds for the whole cluster, or print it
deploy <file> [--check] [--canary 5%] [--players 'vip-*'] [--pin] [--reset]
                          have the players run other code, while they play
code [list | rollback]    list what was deployed, or take the newest back
move <player> --to <node> have another node run a player
crash <player> | --node <node>
                          let a player crash, or a node, to see that nothing is lost
export <player> <file>    write a player's state to a new file
import <player> <file>    begin a player with the state in a file
kill <node>               kill a node, as a dead machine would (SIGKILL)
start <node>              start it again with the same command
stop <node>               freeze a node (SIGSTOP)
continue <node>           let it go on (SIGCONT)
help                      print this
quit                      stop all nodes and remove their data
A question goes to the first node that runs; end it with `via <node>` to choose.";

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing was typed.
    Nothing,
    /// The list of commands.
    Help,
    /// The end.
    Quit,
    /// A question to the cluster.
    Ask {
        /// The question.
        question: Question,
        /// The node to ask, if one was chosen.
        via: Option<NodeName>,
    },
    /// Other code is deployed.
    Deploy {
        /// What is wanted.
        args: Box<DeployArgs>,
        /// The node to ask, if one was chosen.
        via: Option<NodeName>,
    },
    /// Something is done to a node.
    Control {
        /// What is done.
        action: Action,
        /// The node.
        node: NodeName,
    },
}

/// What `dev` does to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// SIGKILL.
    Kill,
    /// The same command again.
    Start,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

/// Why a line means nothing. Nothing was done.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum LineError {
    /// There is no such command.
    #[error("there is no command `{0}`; type help")]
    Unknown(String),
    /// The words after the command do not fit it.
    #[error("usage: {0}")]
    Form(&'static str),
    /// The options after the command do not fit it, in words.
    #[error("{0}")]
    Options(String),
    /// A quotation has no end.
    #[error("a quotation mark is missing")]
    Quote,
    /// A list, a record or the like has no end.
    #[error("a closing bracket is missing")]
    Bracket,
    /// A player id or a node name that is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// A setting that is none.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// `LineError`: one sentence for the person who typed it.
    pub(super) fn parse(scope: Scope, line: &str) -> Result<Self, LineError> {
        let words = split(line)?;
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some(command) = words.first().copied() else { return Ok(Self::Nothing) };
        if !scope.commands().contains(&command) {
            return Err(LineError::Unknown(command.to_owned()));
        }
        let via = match scope {
            Scope::Node => None,
            Scope::Dev => take_via(&mut words)?,
        };
        let arguments = &words[1..];
        let ask = |question| Ok(Self::Ask { question, via: via.clone() });
        match command {
            "reward" => match arguments {
                [player, points] => ask(Question::reward(player.parse()?, points)),
                _ => Err(LineError::Form("reward <player> <points>")),
            },
            "points" => match arguments {
                [player] => ask(Question::points(player.parse()?)),
                _ => Err(LineError::Form("points <player>")),
            },
            CALL => match arguments {
                [player, function, values @ ..] => {
                    let values = values.iter().map(|value| (*value).to_owned()).collect();
                    ask(Question::call(player.parse()?, (*function).to_owned(), values))
                }
                _ => Err(LineError::Form("call <player> <function> [<value> …]")),
            },
            "describe" => match arguments {
                [] => ask(Question::describe(None)),
                [player] => ask(Question::describe(Some(player.parse()?))),
                _ => Err(LineError::Form("describe [<player>]")),
            },
            "players" => match arguments {
                [] => ask(Question::Players { all: false }),
                ["--all" | "all"] => ask(Question::Players { all: true }),
                _ => Err(LineError::Form("players [--all]")),
            },
            "nodes" if arguments.is_empty() => ask(Question::Nodes),
            "nodes" => Err(LineError::Form("nodes")),
            "set" => ask(Question::Set(read_settings(arguments)?)),
            "deploy" => Ok(Self::Deploy { args: Box::new(read_deploy(&words)?), via }),
            "code" => match arguments {
                [] | ["list"] => ask(Question::Deployments),
                ["rollback"] => ask(Question::RollBack { number: None, waits: true }),
                _ => Err(LineError::Form("code [list | rollback]")),
            },
            "move" => match arguments {
                [player, to] | [player, "--to" | "to", to] => {
                    ask(Question::move_to(player.parse()?, to.parse()?))
                }
                _ => Err(LineError::Form("move <player> --to <node>")),
            },
            "crash" => match arguments {
                ["--node", node] => ask(Question::CrashNode(node.parse()?)),
                [player] if *player != "--node" => ask(Question::crash(player.parse()?)),
                _ => Err(LineError::Form("crash <player>, or crash --node <node>")),
            },
            "export" => match arguments {
                [player, file] => {
                    ask(Question::Export { player: player.parse()?, to: Some(file.into()) })
                }
                _ => Err(LineError::Form("export <player> <file>")),
            },
            "import" => match arguments {
                [player, file] => {
                    ask(Question::Import { player: player.parse()?, from: Some(file.into()) })
                }
                _ => Err(LineError::Form("import <player> <file>")),
            },
            "help" => Ok(Self::Help),
            "quit" => Ok(Self::Quit),
            "kill" => control(Action::Kill, arguments, "kill <node>"),
            "start" => control(Action::Start, arguments, "start <node>"),
            "stop" => control(Action::Stop, arguments, "stop <node>"),
            "continue" => control(Action::Continue, arguments, "continue <node>"),
            other => Err(LineError::Unknown(other.to_owned())),
        }
    }
}

fn control(action: Action, arguments: &[&str], form: &'static str) -> Result<Line, LineError> {
    match arguments {
        [node] => Ok(Line::Control { action, node: node.parse()? }),
        _ => Err(LineError::Form(form)),
    }
}

/// Reads what is typed after `deploy` as at a shell.
fn read_deploy(words: &[&str]) -> Result<DeployArgs, LineError> {
    #[derive(Parser)]
    #[command(name = "deploy", disable_help_flag = true)]
    struct Typed {
        #[command(flatten)]
        deploy: DeployArgs,
    }
    let typed = Typed::try_parse_from(words).map_err(|error| {
        // The first of its lines says what is wrong; the others say more than fits a prompt.
        let words = error.to_string();
        let first = words.lines().next().unwrap_or_default();
        LineError::Options(first.trim_start_matches("error: ").to_owned())
    });
    Ok(typed?.deploy)
}

/// Reads pairs of a setting and its value, written as at a shell or without the dashes.
fn read_settings(arguments: &[&str]) -> Result<SettingsChange, LineError> {
    const FORM: LineError = LineError::Form("set [keepers K] [ack memory|disk]");
    let (mut keepers, mut ack) = (None, None);
    let (pairs, rest) = arguments.as_chunks();
    for [setting, value] in pairs {
        let before = match *setting {
            "keepers" | "--keepers" => keepers.replace(*value),
            "ack" | "--ack" => ack.replace(*value),
            _ => return Err(FORM),
        };
        if before.is_some() {
            return Err(FORM);
        }
    }
    if rest.is_empty() { Ok(SettingsChange::parse(keepers, ack)?) } else { Err(FORM) }
}

/// Takes `via <node>` off the end of a line.
fn take_via(words: &mut Vec<&str>) -> Result<Option<NodeName>, LineError> {
    match words.as_slice() {
        [_, .., "via" | "--via", node] => {
            let node = node.parse()?;
            words.truncate(words.len() - 2);
            Ok(Some(node))
        }
        _ => Ok(None),
    }
}

/// Splits a line at white space; what is between quotation marks stays one word. Values of a call stay
/// as they were written.
///
/// # Errors
///
/// `Quote` or `Bracket`, where something has no end.
pub(super) fn split(line: &str) -> Result<Vec<String>, LineError> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let is_value =
            words.len() >= WORDS_BEFORE_VALUES && words.first().is_some_and(|word| word == CALL);
        let word = match rest.strip_prefix('"') {
            _ if is_value => {
                let (value, after) = rest.split_at(value_bytes(rest)?);
                // A comma between two values says as much as a space.
                rest = after.trim_start().strip_prefix(',').unwrap_or(after);
                value
            }
            Some(quoted) => {
                let (word, after) = quoted.split_once('"').ok_or(LineError::Quote)?;
                rest = after;
                word
            }
            None => {
                let (word, after) =
                    rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
                rest = after;
                word
            }
        };
        words.push(word.to_owned());
        rest = rest.trim_start();
    }
    Ok(words)
}

/// Returns how long the value is that a text begins with: up to a space or a comma that is within no
/// brackets and no quotation marks.
fn value_bytes(text: &str) -> Result<usize, LineError> {
    let (mut depth, mut quote, mut escaped) = (0usize, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(mark), _) if c == mark => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, _) if depth == 0 && (c == ',' || c.is_whitespace()) => return Ok(at),
            (None, _) => {}
        }
    }
    match (quote, depth) {
        (Some(_), _) => Err(LineError::Quote),
        (None, 0) => Ok(text.len()),
        (None, _) => Err(LineError::Bracket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Ack, Operation, PlayerId, Term};

    fn dev(line: &str) -> Result<Line, LineError> {
        Line::parse(Scope::Dev, line)
    }

    fn reward(player: &str, points: Term) -> Question {
        Question::Call { player: player.parse().unwrap(), operation: Operation::Reward(points) }
    }

    fn asked(line: &str) -> Question {
        match dev(line).unwrap() {
            Line::Ask { question, via: None } => question,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn questions_are_read() {
        assert_eq!(asked("reward player1 5"), reward("player1", Term::Integer(5)));
        assert_eq!(asked("  reward  player1\t-5 "), reward("player1", Term::Integer(-5)));
        assert_eq!(asked("reward player1 a"), reward("player1", Term::Text("a".into())));
        assert_eq!(asked("points player1"), Question::points("player1".parse().unwrap()));
        assert_eq!(asked("players"), Question::Players { all: false });
        assert_eq!(asked("players --all"), Question::Players { all: true });
        assert_eq!(asked("nodes"), Question::Nodes);
        let change = SettingsChange { keepers: Some(2), ack: Some(Ack::Disk) };
        for line in ["set keepers 2 ack disk", "set --ack disk --keepers 2"] {
            assert_eq!(asked(line), Question::Set(change));
        }
        assert_eq!(asked("set"), Question::Set(SettingsChange::default()));
        for line in ["set keepers", "set ack disk ack disk", "set what 1", "set keepers 0"] {
            assert!(dev(line).is_err(), "{line}");
        }
    }

    #[test]
    fn quotation_marks_hold_words_together() {
        assert_eq!(asked("reward \"a player\" 5"), reward("a player", Term::Integer(5)));
        assert_eq!(dev("reward \"a 5"), Err(LineError::Quote));
        let empty = "".parse::<PlayerId>().unwrap_err();
        assert_eq!(dev("points \"\""), Err(LineError::Id(empty)));
    }

    fn call(player: &str, function: &str, values: &[&str]) -> Question {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Question::call(player.parse().unwrap(), function.to_owned(), values)
    }

    #[test]
    fn values_of_a_call_stay_as_they_were_written() {
        let item = r#"{name: "a \"sharp\" sword", level: 3}"#;
        let line = format!("call player1 add-item {item}");
        assert_eq!(asked(&line), call("player1", "add-item", &[item]));
        let expected = call("a player", "f", &["1", "\"b c\"", "[1, 2]", "some(3)", "' '", "-4"]);
        assert_eq!(asked(r#"call "a player" f 1 "b c" [1, 2] some(3) ' ' -4"#), expected);
        assert_eq!(asked(r#"call "a player" f 1,"b c",  [1, 2] , some(3),' ', -4"#), expected);
        assert_eq!(asked("call p f"), call("p", "f", &[]));
        assert_eq!(dev("call p f {a: 1"), Err(LineError::Bracket));
        assert_eq!(dev("call p f \"a"), Err(LineError::Quote));
        assert_eq!(
            dev("call p f '\"'"),
            Ok(Line::Ask { question: call("p", "f", &["'\"'"]), via: None })
        );
        assert!(matches!(dev("call p"), Err(LineError::Form(_))));
        let via = Some("app_node2".parse().unwrap());
        let question = call("p", "f", &["1"]);
        assert_eq!(dev("call p f 1 via app_node2"), Ok(Line::Ask { question, via }));
        assert_eq!(asked("describe"), Question::describe(None));
        assert_eq!(asked("describe p"), Question::describe(Some("p".parse().unwrap())));
    }

    #[test]
    fn a_node_can_be_chosen_only_where_there_are_several() {
        for line in ["reward player1 5 via app_node2", "reward player1 5 --via app_node2"] {
            let question = reward("player1", Term::Integer(5));
            let via = Some("app_node2".parse().unwrap());
            assert_eq!(dev(line), Ok(Line::Ask { question, via }));
            assert!(Line::parse(Scope::Node, line).is_err());
        }
        assert_eq!(dev("points via app_node2"), Err(LineError::Form("points <player>")));
    }

    #[test]
    fn dev_controls_nodes_and_a_nodes_prompt_does_not() {
        for (word, action) in [
            ("kill", Action::Kill),
            ("start", Action::Start),
            ("stop", Action::Stop),
            ("continue", Action::Continue),
        ] {
            let line = format!("{word} app_node2");
            let node = "app_node2".parse().unwrap();
            assert_eq!(dev(&line), Ok(Line::Control { action, node }));
            let unknown = Err(LineError::Unknown(word.into()));
            assert_eq!(Line::parse(Scope::Node, &line), unknown);
        }
    }

    #[test]
    fn code_is_deployed_with_the_options_of_a_shell() {
        let Ok(Line::Deploy { args, via }) = dev("deploy a.wasm --canary 5% --pin via app_node2")
        else {
            panic!("it is a line")
        };
        assert_eq!((args.canary.as_deref(), args.pin, args.check), (Some("5%"), true, false));
        assert_eq!((args.component.to_str(), via.unwrap().as_str()), (Some("a.wasm"), "app_node2"));
        assert_eq!(asked("code"), Question::Deployments);
        assert_eq!(asked("code rollback"), Question::RollBack { number: None, waits: true });
        let wrong = dev("deploy a.wasm --pin --reset").unwrap_err().to_string();
        assert!(wrong.contains("cannot be used with") && !wrong.contains('\n'), "{wrong}");
        assert!(dev("deploy").is_err() && dev("code what").is_err());
    }

    #[test]
    fn a_player_is_moved_to_a_node() {
        let moved = Question::move_to("p".parse().unwrap(), "app_node2".parse().unwrap());
        for line in ["move p --to app_node2", "move p to app_node2", "move p app_node2"] {
            assert_eq!(asked(line), moved);
        }
        let via = Some("app_node3".parse().unwrap());
        let line = Line::Ask { question: moved, via };
        assert_eq!(dev("move p --to app_node2 via app_node3"), Ok(line));
        assert_eq!(dev("move p"), Err(LineError::Form("move <player> --to <node>")));
        assert!(dev("move p --to a/b").is_err());
    }

    #[test]
    fn a_player_or_a_node_crashes() {
        assert_eq!(asked("crash p"), Question::crash("p".parse().unwrap()));
        let node = Question::CrashNode("app_node2".parse().unwrap());
        assert_eq!(asked("crash --node app_node2"), node);
        for line in ["crash", "crash p q", "crash --node", "crash --node a b"] {
            assert!(dev(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_prompt_writes_to_files_and_reads_from_them() {
        let (player, file) = (|| "p".parse().unwrap(), || Some("p.snap".into()));
        let export = Question::Export { player: player(), to: file() };
        assert_eq!(asked("export p p.snap"), export);
        assert!(!export.is_for_a_file(), "the prompt's output is for its answers");
        let import = Question::Import { player: player(), from: file() };
        assert_eq!(asked("import p p.snap"), import);
        assert!(dev("export p").is_err() && dev("import p").is_err());
    }

    #[test]
    fn a_wrong_line_gets_one_clear_sentence() {
        assert_eq!(dev(" \t"), Ok(Line::Nothing));
        assert_eq!(
            dev("rewrad p 5").unwrap_err().to_string(),
            "there is no command `rewrad`; type help"
        );
        assert_eq!(dev("reward p").unwrap_err().to_string(), "usage: reward <player> <points>");
        assert_eq!(
            dev("kill a/b").unwrap_err().to_string().split(',').next(),
            Some("a node name has letters")
        );
        assert!(dev("kill").is_err() && dev("players some").is_err() && dev("nodes x").is_err());
    }

    #[test]
    fn each_command_is_explained() {
        for scope in [Scope::Node, Scope::Dev] {
            for command in scope.commands() {
                let explained = scope.help().lines().any(|line| line.starts_with(command));
                assert!(explained, "{command}");
            }
        }
    }
}
