//! Arguments of a command: its own options, and flags of the install configuration, which every command takes.

use super::Call;

/// An option of a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opt {
    /// With its dashes, each way it may be written.
    pub(super) names: &'static [&'static str],
    /// A value follows, as `--name value` or `--name=value`.
    pub(super) takes_value: bool,
}

/// A call, taken apart.
#[derive(Debug)]
pub(super) struct Arguments {
    /// The command's own options in order, by their first name; empty text where none takes a value.
    options: Vec<(&'static str, String)>,
    /// What is neither an option nor its value: `explain URL`.
    pub(super) positional: Vec<String>,
    /// The call with the flags of the install configuration alone.
    pub(super) install: Call,
}

/// Takes `call` apart; an error is what to tell the user.
pub(super) fn parse(call: &Call, options: &[Opt], positional: usize) -> Result<Arguments, String> {
    let mut parsed = Arguments { options: Vec::new(), positional: Vec::new(), install: call.clone() };
    parsed.install.arguments.clear();
    let mut rest = call.arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument.as_str(), None),
        };
        if let Some(option) = options.iter().find(|option| option.names.contains(&name)) {
            let value = match (option.takes_value, value) {
                (true, Some(value)) => value.to_owned(),
                (true, None) => rest.next().ok_or_else(|| format!("`{name}` needs a value"))?.clone(),
                (false, None) => String::new(),
                (false, Some(_)) => return Err(format!("`{name}` takes no value")),
            };
            parsed.options.push((option.names[0], value));
        } else if argument.starts_with('-') {
            parsed.install.arguments.push(argument.clone());
            // `--configFile FILE`: the value belongs to the flag before it. A URL is never such a value.
            if value.is_none()
                && let Some(next) = rest.next_if(|next| !next.starts_with('-') && !next.contains("://"))
            {
                parsed.install.arguments.push(next.clone());
            }
        } else if parsed.positional.len() < positional {
            parsed.positional.push(argument.clone());
        } else {
            return Err(format!("`{argument}` is not expected here"));
        }
    }
    Ok(parsed)
}

impl Arguments {
    /// Whether an option is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(option, _)| *option == name)
    }

    /// The last value of an option.
    pub(super) fn value(&self, name: &'static str) -> Option<&str> {
        self.values(name).last()
    }

    /// All values of an option.
    pub(super) fn values(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.options.iter().filter(move |(option, _)| *option == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const OPTIONS: &[Opt] = &[
        Opt { names: &["--from"], takes_value: true },
        Opt { names: &["-X", "--request"], takes_value: true },
        Opt { names: &["--docker"], takes_value: false },
    ];

    fn parsed(arguments: &[&str]) -> Result<Arguments, String> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        parse(&Call { arguments, variables: Arc::default() }, OPTIONS, 1)
    }

    #[test]
    fn options_of_the_command_and_of_the_configuration_mix() {
        let arguments = parsed(&[
            "--configFile",
            "a.yml",
            "http://a/",
            "-X",
            "POST",
            "--from=::1",
            "--docker",
            "--api",
            "--providers.docker=true",
        ])
        .unwrap();
        assert_eq!(arguments.value("-X"), Some("POST"));
        assert_eq!(arguments.value("--from"), Some("::1"));
        assert!(arguments.has("--docker"));
        assert_eq!(arguments.positional, ["http://a/"]);
        assert_eq!(
            arguments.install.arguments,
            ["--configFile", "a.yml", "--api", "--providers.docker=true"]
        );
        let arguments = parsed(&["--api", "http://a/"]).unwrap();
        assert_eq!(arguments.positional, ["http://a/"]);
    }

    #[test]
    fn a_wrong_call_is_said() {
        for (arguments, expected) in [
            (&["--from"][..], "`--from` needs a value"),
            (&["--docker=x"], "`--docker` takes no value"),
            (&["a", "b"], "`b` is not expected here"),
        ] {
            assert_eq!(parsed(arguments).unwrap_err(), expected);
        }
    }
}
