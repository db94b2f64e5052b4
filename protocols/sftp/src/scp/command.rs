//! The command line that a client of scp asks to have run.
//!
//! Owns its syntax: the options of `scp -t` and `scp -f`, and of a shell's language exactly the
//! quoting that clients write. Nothing is ever run; what only a shell could mean is refused.
//! INVARIANT: a command that parses means what a POSIX shell would take it for, `*`, `?`, `[` and a
//! leading `~` left to `pattern`.

use portcullis_common::Sign;

/// Commands longer than this are refused; it is four times the longest path.
const MAX_COMMAND: usize = 16 * 1024;
/// Paths in one command.
const MAX_PATHS: usize = 256;

/// A word of the command, its quotes removed.
pub(crate) type Word = Vec<Sign>;

/// What is to be transferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// `-t`: from the client to the gateway.
    pub(crate) to_gateway: bool,
    /// `-r`: folders too.
    pub(crate) recursive: bool,
    /// `-p`: times and mode too.
    pub(crate) preserve: bool,
    /// `-d`: the target must be a folder.
    pub(crate) into_folder: bool,
    /// At least one; exactly one for the way to the gateway.
    pub(crate) paths: Vec<Word>,
}

/// Why a command of scp is not carried out. The text is shown to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("the command is longer than 16 KiB")]
    TooLong,
    #[error("the path is not valid UTF-8")]
    NotUtf8,
    #[error("no shell reads this command: put the path in single quotes, or leave out -O")]
    Shell,
    #[error("a quote is not closed")]
    Unclosed,
    #[error("this option of scp is not supported; -t or -f with -r, -p, -d, -v, -q are")]
    Option,
    #[error("exactly one path is wanted here; put a path with spaces in quotes, or leave out -O")]
    Paths,
}

impl Command {
    /// Reads a command. `None` where it is not one of scp's.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Command>, CommandError> {
        let Some(rest) = bytes.strip_prefix(b"scp ") else {
            return Ok(None);
        };
        if rest.len() > MAX_COMMAND {
            return Err(CommandError::TooLong);
        }
        let text = std::str::from_utf8(rest).map_err(|_| CommandError::NotUtf8)?;
        Command::from_words(words(text)?).map(Some)
    }

    fn from_words(words: Vec<Word>) -> Result<Command, CommandError> {
        let mut command = Command {
            to_gateway: false,
            recursive: false,
            preserve: false,
            into_folder: false,
            paths: Vec::new(),
        };
        let mut from_gateway = false;
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next_if(is_option) {
            let letters: String = word.iter().skip(1).map(|sign| sign.char).collect();
            if letters == "-" {
                break;
            }
            for letter in letters.chars() {
                match letter {
                    't' => command.to_gateway = true,
                    'f' => from_gateway = true,
                    'r' => command.recursive = true,
                    'p' => command.preserve = true,
                    'd' => command.into_folder = true,
                    // How much the other side tells its own user.
                    'v' | 'q' => {}
                    _ => return Err(CommandError::Option),
                }
            }
        }
        command.paths = words.collect();
        if command.to_gateway == from_gateway {
            return Err(CommandError::Option);
        }
        let most = if command.to_gateway { 1 } else { MAX_PATHS };
        if (1..=most).contains(&command.paths.len()) {
            Ok(command)
        } else {
            Err(CommandError::Paths)
        }
    }
}

fn is_option(word: &Word) -> bool {
    word.len() > 1 && word.first().is_some_and(|sign| sign.char == '-')
}

/// Splits at spaces that are not quoted (POSIX.1-2017, shell command language, 2.2 and 2.3).
fn words(text: &str) -> Result<Vec<Word>, CommandError> {
    let mut all = Vec::new();
    // An empty word is one where it was quoted.
    let mut word: Option<Word> = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char.is_control() {
            return Err(CommandError::Shell);
        }
        match char {
            ' ' => all.extend(word.take()),
            '\'' => single_quoted(&mut chars, word.get_or_insert_default())?,
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => {
                let char = chars.next().ok_or(CommandError::Unclosed)?;
                quoted(word.get_or_insert_default(), char)?;
            }
            '$' | '`' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => return Err(CommandError::Shell),
            '#' if word.is_none() => return Err(CommandError::Shell),
            char => word
                .get_or_insert_default()
                .push(Sign { char, active: true }),
        }
    }
    all.extend(word);
    Ok(all)
}

fn quoted(word: &mut Word, char: char) -> Result<(), CommandError> {
    if char.is_control() {
        return Err(CommandError::Shell);
    }
    word.push(Sign {
        char,
        active: false,
    });
    Ok(())
}

fn single_quoted(chars: &mut std::str::Chars<'_>, word: &mut Word) -> Result<(), CommandError> {
    for char in chars {
        if char == '\'' {
            return Ok(());
        }
        quoted(word, char)?;
    }
    Err(CommandError::Unclosed)
}

/// Within these a backslash escapes only what would have a meaning there.
fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut Word) -> Result<(), CommandError> {
    while let Some(char) = chars.next() {
        match char {
            '"' => return Ok(()),
            '$' | '`' => return Err(CommandError::Shell),
            '\\' => {
                let next = chars.next().ok_or(CommandError::Unclosed)?;
                if !matches!(next, '$' | '`' | '"' | '\\') {
                    quoted(word, '\\')?;
                }
                quoted(word, next)?;
            }
            char => quoted(word, char)?,
        }
    }
    Err(CommandError::Unclosed)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests"
    )]

    use super::*;

    fn text(word: &Word) -> String {
        word.iter().map(|sign| sign.char).collect()
    }

    fn parsed(line: &str) -> Command {
        Command::parse(line.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn commands_as_clients_write_them() {
        // OpenSSH and PuTTY write the path as the user typed it, libssh2 in quotes.
        for (line, wanted) in [
            ("scp -t /a", "t/a"),
            ("scp -v -r -p -d -t -- -a", "trpd-a"),
            ("scp -f .", "f."),
            ("scp -pf 'a b'", "fpa b"),
            ("scp -pt 'it'\"'\"'s'", "tpit's"),
            ("scp -r -t a\\ b", "tra b"),
            ("scp -q -r -p -t \"a \\\"b\\\" \\x\"", "trpa \"b\" \\x"),
            ("scp -f ''", "f"),
            ("scp -f '$(id)`;'", "f$(id)`;"),
            ("scp -t a#b{c}!=~", "ta#b{c}!=~"),
        ] {
            let command = parsed(line);
            let mut told = if command.to_gateway { "t" } else { "f" }.to_owned();
            for (letter, set) in [("r", command.recursive), ("p", command.preserve)] {
                told.push_str(if set { letter } else { "" });
            }
            told.push_str(if command.into_folder { "d" } else { "" });
            told.push_str(&text(&command.paths[0]));
            assert_eq!(told, wanted, "{line}");
        }
        let several = parsed("scp -f a 'b c' d*");
        let texts: Vec<String> = several.paths.iter().map(text).collect();
        assert_eq!(texts, ["a", "b c", "d*"]);
        assert!(several.paths[2][1].active);
        assert!(!parsed("scp -f '*'").paths[0][0].active);
    }

    #[test]
    fn what_is_not_scp() {
        for line in [
            "",
            "scp",
            "scpx -t a",
            "ls",
            "rsync --server . a",
            "/bin/sh -c scp",
        ] {
            assert_eq!(Command::parse(line.as_bytes()), Ok(None), "{line}");
        }
    }

    #[test]
    fn what_only_a_shell_could_mean() {
        for line in [
            "scp -t a;id",
            "scp -t a|sh",
            "scp -t a&",
            "scp -t a>b",
            "scp -t <a",
            "scp -t $HOME",
            "scp -t `id`",
            "scp -t \"$HOME\"",
            "scp -t \"`id`\"",
            "scp -t (a)",
            "scp -t a\nid",
            "scp -t 'a\nb'",
            "scp -t \\\n",
            "scp -t #a",
            "scp -f a\tb",
        ] {
            let told = Command::parse(line.as_bytes());
            assert_eq!(told, Err(CommandError::Shell), "{line:?}");
        }
        for line in ["scp -t 'a", "scp -t \"a", "scp -t a\\", "scp -t \"a\\"] {
            let told = Command::parse(line.as_bytes());
            assert_eq!(told, Err(CommandError::Unclosed), "{line:?}");
        }
        for line in [
            "scp a b",
            "scp -t -f a",
            "scp -S x -t a",
            "scp -3 -t a",
            "scp --help",
        ] {
            let told = Command::parse(line.as_bytes());
            assert_eq!(told, Err(CommandError::Option), "{line:?}");
        }
        for line in ["scp -t", "scp -f", "scp -t a b", "scp -t --"] {
            let told = Command::parse(line.as_bytes());
            assert_eq!(told, Err(CommandError::Paths), "{line:?}");
        }
        let long = format!("scp -t {}", "a".repeat(MAX_COMMAND));
        assert_eq!(Command::parse(long.as_bytes()), Err(CommandError::TooLong));
        assert_eq!(Command::parse(b"scp -t \xff"), Err(CommandError::NotUtf8));
    }
}
