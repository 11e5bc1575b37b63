//! The command line of a provider. Terraform passes no arguments; all others are a person's.

/// What the process is to do.
#[derive(Debug, PartialEq)]
pub(super) enum Mode {
    /// Serve the parent that started it.
    Plugin,
    /// Serve without a parent.
    Debug,
    /// Print the version.
    Version,
    /// Explain; with the argument that was not understood, if any.
    Help { unknown: Option<String> },
}

/// Reads the arguments, without the program's name. One dash is as good as two, as with Go's programs.
pub(super) fn mode(mut args: impl Iterator<Item = String>) -> Mode {
    let Some(first) = args.next() else {
        return Mode::Plugin;
    };
    if let Some(unknown) = args.next() {
        return Mode::Help {
            unknown: Some(unknown),
        };
    }
    match first.as_str() {
        "--debug" | "-debug" => Mode::Debug,
        "--version" | "-version" => Mode::Version,
        "--help" | "-help" | "-h" => Mode::Help { unknown: None },
        _ => Mode::Help { unknown: Some(first) },
    }
}

/// What a person reads who started the provider by hand.
pub(super) fn usage(address: &str, unknown: Option<&str>) -> String {
    let complaint = unknown
        .map(|arg| format!("Unknown argument {arg:?}.\n\n"))
        .unwrap_or_default();
    format!(
        "{complaint}This is a plugin, the Terraform provider {address}. It is started by Terraform itself, where a\n\
         configuration requires it; it does nothing by itself.\n\n\
         \t--debug      serve without Terraform, for a debugger, and print how to attach\n\
         \t--version    print the version"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Mode {
        mode(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn no_arguments_mean_that_terraform_called() {
        assert_eq!(of(&[]), Mode::Plugin);
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        assert_eq!(of(&["-debug"]), Mode::Debug);
        assert_eq!(of(&["--debug"]), Mode::Debug);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(
            of(&["--port"]),
            Mode::Help {
                unknown: Some("--port".to_owned())
            }
        );
        assert!(usage("a/b/c", Some("--port")).contains("--port"));
    }
}
