//! The terminal: raw input, another screen, colours, and everything back at the end.
//!
//! `unsafe` stands here for calls of the C library about the terminal, which fill structs that
//! they are given.
//!
//! Invariant: what [`Terminal::enter`] changed is changed back when the value is dropped, and
//! before the message of a panic is written, which ends the process.
//! Runs on: the main thread; keys are read on a thread of their own, which ends with the process.

use std::io::{self, IsTerminal, Read, Write};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use tokio::sync::mpsc;

use super::frame::{Line, Tone};

/// Size when the terminal does not tell one.
const DEFAULT_SIZE: (usize, usize) = (80, 24);
/// Keys that wait to be read.
const KEYS_MAX: usize = 16;

/// The other screen, no cursor, no wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Back to the first one.
const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Settings of the terminal before `top`.
static BEFORE: OnceLock<libc::termios> = OnceLock::new();

/// A terminal that shows frames.
#[derive(Debug)]
pub(super) struct Terminal {
    colours: bool,
    shown: Vec<Line>,
    size: (usize, usize),
}

impl Terminal {
    /// Whether standard input and output are a terminal.
    pub(super) fn is_there() -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal()
    }

    /// Takes the terminal over.
    ///
    /// # Errors
    /// When its settings cannot be read or changed.
    pub(super) fn enter() -> io::Result<Self> {
        let before = *BEFORE.get_or_init(settings);
        let mut raw = before;
        raw.c_lflag &= !(libc::ICANON | libc::ECHO | libc::ISIG);
        raw.c_cc[libc::VMIN] = 1;
        raw.c_cc[libc::VTIME] = 0;
        apply(&raw)?;
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            earlier(info);
        }));
        write(ENTER);
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ok(Self {
            colours: !refused,
            shown: Vec::new(),
            size: (0, 0),
        })
    }

    /// Columns and rows.
    pub(super) fn size() -> (usize, usize) {
        let mut size = MaybeUninit::<libc::winsize>::zeroed();
        // SAFETY: the call fills the struct that it is given, and zeros are a value of it.
        let size = unsafe {
            libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr());
            size.assume_init()
        };
        match (usize::from(size.ws_col), usize::from(size.ws_row)) {
            (0, _) | (_, 0) => DEFAULT_SIZE,
            size => size,
        }
    }

    /// Shows a frame; only lines that changed are written.
    pub(super) fn show(&mut self, lines: Vec<Line>, size: (usize, usize)) {
        let mut text = String::new();
        if size != self.size {
            text.push_str("\x1b[2J");
            self.shown.clear();
            self.size = size;
        }
        for (row, line) in lines.iter().enumerate() {
            if self.shown.get(row) != Some(line) {
                // Erased first: at the end of a full line that would take its last character.
                text.push_str(&format!("\x1b[{};1H\x1b[0m\x1b[K", row + 1));
                self.paint(line, &mut text);
            }
        }
        self.shown = lines;
        write(&text);
    }

    fn paint(&self, line: &Line, text: &mut String) {
        for (tone, part) in &line.0 {
            let code = match tone {
                Tone::Plain => "0",
                Tone::Head => "0;1",
                Tone::Faint => "0;2",
                Tone::Good => "0;32",
                Tone::Warning => "0;33",
                Tone::Bad => "0;31",
            };
            if self.colours {
                text.push_str(&format!("\x1b[{code}m"));
            }
            text.push_str(part);
        }
    }

    /// Starts to read keys, byte by byte.
    pub(super) fn keys() -> mpsc::Receiver<u8> {
        let (keys, read) = mpsc::channel(KEYS_MAX);
        std::thread::spawn(move || {
            let mut input = io::stdin().lock();
            let mut byte = [0];
            while input.read_exact(&mut byte).is_ok() && keys.blocking_send(byte[0]).is_ok() {}
        });
        read
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    write(LEAVE);
    if let Some(before) = BEFORE.get() {
        // There is nobody left to tell when the terminal has gone.
        let _ = apply(before);
    }
}

fn settings() -> libc::termios {
    let mut settings = MaybeUninit::<libc::termios>::zeroed();
    // SAFETY: the call fills the struct that it is given, and zeros are a value of it.
    unsafe {
        libc::tcgetattr(libc::STDIN_FILENO, settings.as_mut_ptr());
        settings.assume_init()
    }
}

fn apply(settings: &libc::termios) -> io::Result<()> {
    // SAFETY: the call reads the struct that it is given.
    match unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, settings) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    // A terminal that has gone ends the program by its next key or signal.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
