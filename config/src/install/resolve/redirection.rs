//! `http.redirections.entryPoint`: all requests of one entry point are sent to another.

use super::Resolver;
use crate::install::raw::RawRedirectEntryPoint;
use crate::install::{EntryPoint, Redirection};
use crate::problem::did_you_mean;

/// 2^63 - 2: right below the challenges of certificates.
const PRIORITY: i64 = i64::MAX - 1;

impl Resolver<'_> {
    /// None where nothing is redirected, or to nowhere: then the requests are routed like any other, and a problem
    /// says so.
    pub(super) fn redirection(
        &mut self,
        from: &str,
        raw: RawRedirectEntryPoint,
        entry_points: &[EntryPoint],
    ) -> Option<Redirection> {
        let path = ["entryPoints", from, "http", "redirections", "entryPoint", "to"];
        let is_udp = entry_points.iter().any(|known| known.name.as_str() == from && known.udp.is_some());
        if is_udp {
            // It has been said that `http` has no effect there.
            return None;
        }
        let Some(to) = raw.to.filter(|to| !to.is_empty()) else {
            if raw.scheme.is_some() || raw.permanent.is_some() || raw.priority.is_some() {
                let hint = "set `to` to an entry point or a port, as in `websecure` or `:443`";
                self.report(&path[..5], "names no target: nothing is redirected", hint);
            }
            return None;
        };
        let port = match to.strip_prefix(':') {
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => {
                    let message = format!("`{to}` is no port: nothing is redirected");
                    self.report(&path, message, "write it as `:443`");
                    return None;
                }
            },
            None => {
                let known = |entry_point: &&EntryPoint| entry_point.udp.is_none();
                let target = entry_points.iter().filter(known).find(|known| known.name.as_str() == to);
                match target {
                    // Clients do not reach a Unix socket: something before it does, on the scheme's port.
                    Some(target) => target.address.port(),
                    None => {
                        let names = entry_points.iter().filter(known).map(|known| known.name.as_str());
                        let hint = did_you_mean(&to, names)
                            .map_or_else(String::new, |near| format!("did you mean `{near}`?"));
                        let message = format!(
                            "'to' entry point field references a non-existing entry point: {to}: nothing is redirected"
                        );
                        self.report(&path, message, &hint);
                        return None;
                    }
                }
            }
        };
        let scheme = raw.scheme.filter(|scheme| !scheme.is_empty()).unwrap_or_else(|| "https".to_owned());
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            let path = [path[0], path[1], path[2], path[3], path[4], "scheme"];
            let message = format!("`{scheme}` is no scheme of web pages: nothing is redirected");
            self.report(&path, message, "write `https`");
            return None;
        }
        Some(Redirection {
            port,
            scheme: scheme.into(),
            permanent: raw.permanent.unwrap_or(true),
            to: to.into(),
            priority: raw.priority.unwrap_or(PRIORITY),
        })
    }
}
