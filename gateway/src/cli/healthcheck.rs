//! `hearthgate healthcheck`: for Docker's `HEALTHCHECK`. Asks `/ping` of the admin listener; its default places need
//! no configuration. `--ping`, which Traefik wants, is a flag of the install configuration like any other.

use super::arguments::{Opt, parse};
use super::client::{Client, admin_option};
use super::{Call, FAILED, OK, complain, print};

const USAGE_TEXT: &str = "\
usage: hearthgate healthcheck [--admin ADDRESS] [flags of the install configuration]

Asks /ping of the admin listener: the configured address, 127.0.0.1:8080, admin.sock in the state directory.
exit status: 0 the gateway answers OK, 1 it does not
";

const OPTIONS: &[Opt] = &[Opt { names: &["-h", "--help"], takes_value: false }, admin_option()];

/// Asks; returns the exit code.
pub(super) fn healthcheck(call: &Call) -> u8 {
    let asked = parse(call, OPTIONS, 0).and_then(|arguments| {
        if arguments.has("-h") {
            return Ok(USAGE_TEXT.to_owned());
        }
        let answer =
            Client::of(&arguments)?.get_success("/ping").map_err(|unreachable| unreachable.to_string())?;
        if answer.status == 200 { Ok("OK\n".to_owned()) } else { Err(answer.complaint()) }
    });
    match asked {
        Ok(text) => {
            print(&text);
            OK
        }
        // Docker keeps what is printed: it shows in `docker inspect`.
        Err(wrong) => {
            complain(&format!("hearthgate healthcheck: {wrong}"));
            FAILED
        }
    }
}
