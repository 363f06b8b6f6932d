//! What happens in the demo, in order.
//!
//! Runs on: the demo's main thread.

use std::path::Path;
use std::time::{Duration, Instant};

use super::failed;
use super::node::Node;
use super::screen::{Screen, Voice};
use super::user::{Invitation, User};
use crate::cli::DemoArguments;
use crate::exit::CommandError;

/// The channel: a direct chat of the two.
const CHANNEL: &str = "chat.ada~bob";

const MORNING: [(bool, &str); 6] = [
    (
        true,
        "Good morning Bob! Are you in the algebra class today?",
    ),
    (false, "I am. Did you solve number 7?"),
    (true, "Yes: substitute first, then it falls apart."),
    (false, "Substitute what?"),
    (true, "x + 1 = u. Then it is a square."),
    (false, "Oh! That is neat."),
];

const WHILE_BOB_IS_AWAY: [&str; 3] = [
    "There is one more trick in number 8.",
    "Start from the right-hand side.",
    "Bob? Your screen went dark.",
];

const WHILE_THE_NODE_IS_AWAY: &str = "Sent while the server was dead.";

const EVENING: [(bool, &str); 3] = [
    (false, "I have all of your messages, in order."),
    (true, "And I have yours. See you in class!"),
    (false, "See you!"),
];

/// Tells the story.
pub(super) fn tell(arguments: &DemoArguments, directory: &Path) -> Result<(), CommandError> {
    let mut story = Story::begin(arguments, directory)?;
    for (ada_speaks, words) in MORNING {
        story.exchange(ada_speaks, words)?;
    }
    story.kill_bob()?;
    story.kill_node()?;
    for (ada_speaks, words) in EVENING {
        story.exchange(ada_speaks, words)?;
    }
    story.end()
}

struct Story {
    screen: Screen,
    // Users end before the node, so that none of them starts to reconnect.
    ada: User,
    bob: User,
    node: Node,
    /// Time between two lines, so that they can be read.
    pause: Duration,
    /// Every message in the order of the channel.
    said: Vec<String>,
}

impl Story {
    fn begin(arguments: &DemoArguments, directory: &Path) -> Result<Self, CommandError> {
        let screen = Screen::new(arguments.plain);
        screen.line(
            Voice::Note,
            "Starting a node of its own and two users, each a process.",
        );
        let node = Node::start(directory, arguments.listen)?;
        let (url, data) = (node.url(), node.data());
        let join = |name| {
            User::join(&Invitation {
                name,
                url: &url,
                channel: CHANNEL,
                data: &data,
            })
        };
        let (ada, bob) = (join("ada")?, join("bob")?);
        let text = format!(
            "ada and bob joined {CHANNEL} at {url}. Times are from one screen to the other, \
             with the journal between.\n"
        );
        screen.line(Voice::Note, &text);
        Ok(Self {
            screen,
            ada,
            bob,
            node,
            pause: arguments.pause,
            said: Vec::new(),
        })
    }

    /// One speaks; both screens show it.
    fn exchange(&mut self, ada_speaks: bool, words: &str) -> Result<(), CommandError> {
        let (voice, speaker, listener) = if ada_speaks {
            (Voice::Ada, &mut self.ada, &mut self.bob)
        } else {
            (Voice::Bob, &mut self.bob, &mut self.ada)
        };
        let start = Instant::now();
        speaker.say(words)?;
        let heard = listener.read()?;
        let took = start.elapsed();
        speaker.read()?;
        self.screen.message(voice, speaker.name, &heard, Some(took));
        self.said.push(words.to_owned());
        std::thread::sleep(self.pause);
        Ok(())
    }

    /// Bob's process dies, Ada goes on, Bob comes back and misses nothing.
    fn kill_bob(&mut self) -> Result<(), CommandError> {
        self.screen
            .line(Voice::Event, "\n  bob's process is killed (kill -9).");
        self.bob.kill()?;
        for words in WHILE_BOB_IS_AWAY {
            self.ada.say(words)?;
            self.ada.read()?;
            self.screen.message(Voice::Ada, "ada", words, None);
            self.said.push(words.to_owned());
            std::thread::sleep(self.pause);
        }
        let (url, data) = (self.node.url(), self.node.data());
        let start = Instant::now();
        let missed = self.bob.come_back(&Invitation {
            name: "bob",
            url: &url,
            channel: CHANNEL,
            data: &data,
        })?;
        for _ in 0..missed {
            self.bob.read()?;
        }
        let text = format!(
            "  bob is back after {:.0} ms and got the {missed} messages that he missed.\n",
            start.elapsed().as_secs_f64() * 1e3
        );
        self.screen.line(Voice::Event, &text);
        std::thread::sleep(self.pause);
        Ok(())
    }

    /// The node dies while Ada speaks; it recovers its journal and both reconnect.
    fn kill_node(&mut self) -> Result<(), CommandError> {
        self.screen
            .line(Voice::Event, "  The node is killed (kill -9).");
        self.node.kill()?;
        let words = WHILE_THE_NODE_IS_AWAY;
        self.ada.say(words)?;
        self.screen.message(Voice::Ada, "ada", words, None);
        std::thread::sleep(self.pause);
        let start = Instant::now();
        self.node.restart()?;
        let recovered = start.elapsed();
        self.bob.read()?;
        self.ada.read()?;
        self.said.push(words.to_owned());
        let text = format!(
            "  The node was ready again after {:.0} ms; both users reconnected and have it after \
             {:.1} s.\n",
            recovered.as_secs_f64() * 1e3,
            start.elapsed().as_secs_f64()
        );
        self.screen.line(Voice::Event, &text);
        std::thread::sleep(self.pause);
        Ok(())
    }

    /// Compares both screens with what was said.
    fn end(self) -> Result<(), CommandError> {
        for user in [&self.ada, &self.bob] {
            if user.screen != self.said {
                let (name, shown) = (user.name, &user.screen);
                let said = &self.said;
                return Err(failed(format!(
                    "the screen of {name} does not show what was said.\nsaid: {said:#?}\nshown: \
                     {shown:#?}"
                )));
            }
        }
        let text = format!(
            "\nBoth screens show all {} messages, each once and in order. Nothing was lost.",
            self.said.len()
        );
        self.screen.line(Voice::Note, &text);
        Ok(())
    }
}
