//! What the tabulator key offers: commands first, then players and nodes that were seen, and functions
//! where one is called.

use std::collections::BTreeSet;

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use crate::cli::command::{CALL, split};

/// Names that are remembered. More could not be chosen from anyway.
const NAMES_MAX: usize = 4096;

/// Words to offer.
#[derive(Debug)]
pub(super) struct Completion {
    commands: &'static [&'static str],
    names: BTreeSet<String>,
    functions: BTreeSet<String>,
}

impl Completion {
    /// Offers these commands, names and functions.
    pub(super) fn new(
        commands: &'static [&'static str],
        names: Vec<String>,
        functions: Vec<String>,
    ) -> Self {
        let mut completion = Self { commands, names: BTreeSet::new(), functions: BTreeSet::new() };
        completion.learn(names);
        completion.learn_functions(functions);
        completion
    }

    /// Offers these names too.
    pub(super) fn learn(&mut self, names: Vec<String>) {
        let room = NAMES_MAX.saturating_sub(self.names.len());
        self.names.extend(names.into_iter().take(room));
    }

    /// Offers these functions too.
    pub(super) fn learn_functions(&mut self, functions: Vec<String>) {
        let room = NAMES_MAX.saturating_sub(self.functions.len());
        self.functions.extend(functions.into_iter().take(room));
    }

    fn offers(&self, before: &str) -> (usize, Vec<String>) {
        let space = before.char_indices().rfind(|(_, c)| c.is_whitespace());
        let start = space.map_or(0, |(index, c)| index + c.len_utf8());
        let (earlier, begun) = before.split_at(start);
        let offers = if earlier.trim().is_empty() {
            let fits = self.commands.iter().filter(|command| command.starts_with(begun));
            fits.map(|command| format!("{command} ")).collect()
        } else if let Ok(words) = split(earlier)
            && words[0] == CALL
            && words.len() >= 2
        {
            // After the player comes the function, after that values that only a person knows.
            let fits = self.functions.iter().filter(|_| words.len() == 2);
            let fits = fits.filter(|function| function.starts_with(begun));
            fits.map(|function| format!("{function} ")).collect()
        } else {
            // A name with spaces is one word only between quotation marks.
            let quoted = |name: &String| match name.contains(char::is_whitespace) {
                true => format!("\"{name}\" "),
                false => format!("{name} "),
            };
            self.names.iter().map(quoted).filter(|name| name.starts_with(begun)).collect()
        };
        (start, offers)
    }
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.offers(&line[..pos]))
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {}

impl Validator for Completion {}

impl Helper for Completion {}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(before: &str) -> (usize, Vec<String>) {
        let names = ["player1", "player2", "a player"].map(str::to_owned).to_vec();
        let functions = ["add-item", "a:b/c#add-item", "points"].map(str::to_owned).to_vec();
        Completion::new(&["call", "points", "players", "reward"], names, functions).offers(before)
    }

    #[test]
    fn the_first_word_is_a_command_and_later_ones_are_names() {
        assert_eq!(offers("po"), (0, vec!["points ".to_owned()]));
        assert_eq!(offers("reward pl"), (7, vec!["player1 ".to_owned(), "player2 ".to_owned()]));
        assert_eq!(offers("points \"a"), (7, vec!["\"a player\" ".to_owned()]));
        assert_eq!(offers("x"), (0, vec![]));
    }

    #[test]
    fn after_the_player_that_is_called_come_functions() {
        assert_eq!(offers("call pl"), (5, vec!["player1 ".to_owned(), "player2 ".to_owned()]));
        assert_eq!(offers("call player1 add"), (13, vec!["add-item ".to_owned()]));
        assert_eq!(offers("call \"a player\" po"), (16, vec!["points ".to_owned()]));
        assert_eq!(offers("call player1 ").1.len(), 3);
        assert_eq!(offers("call player1 add-item pl").1, Vec::<String>::new());
        assert_eq!(offers("points player1 add").1, Vec::<String>::new());
    }

    #[test]
    fn names_are_bounded() {
        let mut completion = Completion::new(&[], vec![], vec![]);
        completion.learn((0..2 * NAMES_MAX).map(|n| n.to_string()).collect());
        completion.learn_functions((0..2 * NAMES_MAX).map(|n| n.to_string()).collect());
        assert_eq!((completion.names.len(), completion.functions.len()), (NAMES_MAX, NAMES_MAX));
    }
}
