//! What each key does. Pure but for [`listen`], which turns what a terminal sends into keys.

use std::io;
use std::thread;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

use super::board::{Board, Front, Panel, Sight};
use crate::protocol::{PlayerId, is_plain};

/// Keys that may wait: a person types no faster.
const KEYS_MAX: usize = 64;

/// Longest id that is typed, in bytes.
const TYPED_BYTES_MAX: usize = 128;

/// A key, or a change of the terminal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    Tab,
    Enter,
    Escape,
    Backspace,
    /// Ctrl-C, which is no signal in a terminal that is read key by key.
    Interrupt,
    /// The terminal has another size.
    Resized,
}

/// Whether the screen stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Stay,
    Quit,
}

/// Reads keys from a thread of its own, which ends with the terminal or with the process: a blocking
/// read cannot be cancelled.
///
/// # Errors
///
/// When the system gives no thread.
pub(super) fn listen() -> io::Result<mpsc::Receiver<Key>> {
    let (keys, typed) = mpsc::channel(KEYS_MAX);
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        // Without a terminal there are no more keys, which the receiver sees.
        while let Ok(event) = event::read() {
            if let Some(key) = key_of(&event)
                && keys.blocking_send(key).is_err()
            {
                break;
            }
        }
    })?;
    Ok(typed)
}

fn key_of(event: &Event) -> Option<Key> {
    let KeyEvent { code, modifiers, kind, .. } = match event {
        Event::Resize(..) => return Some(Key::Resized),
        Event::Key(key) => key,
        _ => return None,
    };
    if *kind == KeyEventKind::Release {
        return None;
    }
    if modifiers.contains(KeyModifiers::CONTROL) {
        return (*code == KeyCode::Char('c')).then_some(Key::Interrupt);
    }
    Some(match code {
        KeyCode::Char(c) => Key::Char(*c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::Tab => Key::Tab,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

impl Board {
    /// Does what a key asks for.
    pub(super) fn press(&mut self, key: Key) -> Then {
        if key == Key::Interrupt {
            return Then::Quit;
        }
        if let Front::Search { typed, .. } = &mut self.front {
            let typed = std::mem::take(typed);
            self.front = search(typed, key);
            return Then::Stay;
        }
        match key {
            Key::Char('q') => return Then::Quit,
            Key::Char('?') if self.front == Front::Help => self.front = Front::Nothing,
            Key::Char('?') => self.front = Front::Help,
            Key::Char('/') => self.front = Front::Search { typed: String::new(), wrong: None },
            Key::Escape => self.front = Front::Nothing,
            Key::Enter if self.front != Front::Nothing => self.front = Front::Nothing,
            Key::Enter => self.open(),
            Key::Tab if self.front == Front::Nothing => {
                self.panel = match self.panel {
                    Panel::Nodes => Panel::Players,
                    Panel::Players => Panel::Events,
                    Panel::Events => Panel::Nodes,
                };
            }
            // What is in front hides what would be chosen.
            _ if self.front != Front::Nothing => {}
            Key::Down | Key::Char('j') => self.go_down(),
            Key::Up | Key::Char('k') => self.go_up(),
            Key::PageDown => self.next_page(),
            Key::PageUp => self.page_before(0),
            Key::Home => match self.panel {
                Panel::Nodes => self.choose_node_at(0),
                Panel::Players => self.first_page(),
                Panel::Events => self.event = 0,
            },
            Key::Char(_) | Key::Tab | Key::Backspace | Key::Interrupt | Key::Resized => {}
        }
        Then::Stay
    }

    fn go_down(&mut self) {
        match self.panel {
            Panel::Nodes => self.choose_node_at(self.node_at() + 1),
            Panel::Players if self.player + 1 < self.players().len() => self.player += 1,
            Panel::Players => self.next_page(),
            Panel::Events => {
                self.event = (self.event + 1).min(self.events.len().saturating_sub(1));
            }
        }
    }

    fn go_up(&mut self) {
        match self.panel {
            Panel::Nodes => self.choose_node_at(self.node_at().saturating_sub(1)),
            Panel::Players if self.player > 0 => self.player -= 1,
            // To its last row, wherever that is.
            Panel::Players => self.page_before(usize::MAX),
            Panel::Events => self.event = self.event.saturating_sub(1),
        }
    }

    /// Returns the row of the chosen node.
    pub(super) fn node_at(&self) -> usize {
        let is_chosen = |name| Some(name) == self.node.as_ref();
        self.nodes().iter().position(|row| is_chosen(&row.record.name)).unwrap_or(0)
    }

    fn choose_node_at(&mut self, at: usize) {
        let name = self.nodes().get(at).map(|row| row.record.name.clone());
        if name.is_some() {
            self.choose_node(name);
        }
    }

    /// Shows more of what is chosen.
    fn open(&mut self) {
        let player = match self.panel {
            Panel::Nodes => {
                self.front = self.node.clone().map_or(Front::Nothing, Front::Node);
                return;
            }
            Panel::Players => self.players().get(self.player).map(|it| it.player.clone()),
            Panel::Events => self.events.get(self.event).and_then(|it| it.news.player()).cloned(),
        };
        if let Some(player) = player {
            self.front = Front::Player { player, seen: Sight::Asked };
        }
    }
}

/// Returns what is in front after a key, while an id is typed.
fn search(mut typed: String, key: Key) -> Front {
    match key {
        Key::Escape => return Front::Nothing,
        Key::Enter => match typed.parse::<PlayerId>() {
            Ok(player) => return Front::Player { player, seen: Sight::Asked },
            Err(error) => return Front::Search { typed, wrong: Some(error.to_string()) },
        },
        Key::Backspace => drop(typed.pop()),
        Key::Char(c) if is_plain(c) && typed.len() + c.len_utf8() <= TYPED_BYTES_MAX => {
            typed.push(c);
        }
        _ => {}
    }
    Front::Search { typed, wrong: None }
}
