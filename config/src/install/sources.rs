//! Flags and variables as trees, and how trees are laid over each other.

use std::collections::BTreeMap;

use crate::document::{Key, Node, Shape, Value, tree_from_paths};
use crate::problem::{Origin, Problem, did_you_mean};

/// What the command line says.
pub(super) struct Flags {
    pub(super) tree: Node,
    pub(super) config_file: Option<(String, Origin)>,
    pub(super) problems: Vec<Problem>,
}

/// Reads Traefik's flags: `--a.b=value`, `--a.b value`, `--a.b` (true), in any case, with one dash or two. A
/// flag of a list that is given again adds to it; any other that is given again replaces the first.
pub(super) fn flags(arguments: &[String], shape: &Shape) -> Flags {
    let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut config_file = None;
    let mut problems = Vec::new();
    let mut arguments = arguments.iter().peekable();
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
            let origin = Origin::Flag { name: argument.clone() };
            problems.push(
                Problem::error(origin, "", "is neither a command nor a flag")
                    .with_hint("write flags as `--entryPoints.web.address=:80`"),
            );
            continue;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (
                flag,
                arguments.next_if(|next| !next.starts_with('-')).cloned().unwrap_or_else(|| "true".into()),
            ),
        };
        let origin = Origin::Flag { name: format!("--{name}") };
        if name.eq_ignore_ascii_case("configFile") {
            config_file = Some((value, origin));
            continue;
        }
        let entry = found.entry(name.to_lowercase());
        let is_list = matches!(shape_of_path(shape, name), Some(Shape::List(_)));
        entry
            .and_modify(|(_, earlier)| {
                if is_list {
                    earlier.push(',');
                    earlier.push_str(&value);
                } else {
                    earlier.clone_from(&value);
                }
            })
            .or_insert_with(|| (name.to_owned(), value.clone()));
    }
    let paths = found
        .values()
        .map(|(name, value)| (name.as_str(), value.as_str(), Origin::Flag { name: format!("--{name}") }));
    let (tree, errors) = tree_from_paths(paths);
    problems.extend(errors.into_iter().map(|error| {
        let problem = Problem::error(error.origin, "", error.message);
        Problem { hint: error.hint, ..problem }
    }));
    Flags { tree, config_file, problems }
}

fn shape_of_path<'a>(shape: &'a Shape, path: &str) -> Option<&'a Shape> {
    path.split('.').try_fold(shape, |shape, segment| match segment.split_once('[') {
        Some((name, _)) => match shape.get(name) {
            Some(Shape::List(inner)) => Some(&**inner),
            _ => None,
        },
        None => shape.get(segment),
    })
}

/// What the environment says under one prefix.
pub(super) struct Variables {
    pub(super) tree: Node,
    pub(super) config_file: Option<(String, Origin)>,
    /// The gateway does not start with these.
    pub(super) errors: Vec<Problem>,
    pub(super) problems: Vec<Problem>,
}

/// Reads `TRAEFIK_ENTRYPOINTS_WEB_ADDRESS` and its like. What begins with no known section is not meant for us
/// where the prefix is Traefik's (`TRAEFIK_VERSION` of an image), and a probable mistake where it is ours.
/// `…_FILE` reads the value from a file.
pub(super) fn variables(
    variables: &[(String, String)],
    prefix: &str,
    shape: &Shape,
    read_secret: &mut dyn FnMut(&str, &Origin) -> Result<String, Problem>,
) -> Variables {
    let mut errors = Vec::new();
    let mut problems = Vec::new();
    let mut config_file = None;
    let mut paths: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (name, value) in variables {
        // As in Traefik, a variable may be written in small letters too.
        let Some(rest) = name
            .get(..prefix.len())
            .filter(|start| start.eq_ignore_ascii_case(prefix))
            .map(|start| &name[start.len()..])
        else {
            continue;
        };
        let origin = Origin::Variable { name: name.clone() };
        if rest.eq_ignore_ascii_case("CONFIGFILE") {
            if !value.is_empty() {
                config_file = Some((value.clone(), origin));
            }
            continue;
        }
        let twin = rest.strip_suffix("_FILE");
        let (path, shape_there, from_file) =
            match (path_of(rest, shape), twin.map(|rest| path_of(rest, shape))) {
                (Ok((path, found)), _) => (path, found, false),
                (Err(_), Some(Ok((path, found @ Shape::Value)))) => (path, found, true),
                (Err(unknown), _) if unknown.at_root => {
                    if prefix == "HEARTHGATE_" {
                        problems.push(unknown.problem(origin, true));
                    }
                    continue;
                }
                (Err(unknown), _) => {
                    errors.push(unknown.problem(origin, false));
                    continue;
                }
            };
        // An empty value says nothing, but that a block is on.
        if value.is_empty() && !matches!(shape_there, Shape::Block(_)) {
            continue;
        }
        let value = if from_file {
            match read_secret(value, &origin) {
                Ok(value) => value,
                Err(problem) => {
                    errors.push(problem);
                    continue;
                }
            }
        } else {
            value.clone()
        };
        if let Some((other, _)) = paths.get(&path) {
            let problem = Problem::error(origin, "", format!("`{other}` sets the same"));
            errors.push(problem.with_hint("set one of the two"));
            continue;
        }
        paths.insert(path, (name.clone(), value));
    }
    let (tree, refused) = tree_from_paths(paths.iter().map(|(path, (name, value))| {
        (path.as_str(), value.as_str(), Origin::Variable { name: name.clone() })
    }));
    errors.extend(refused.into_iter().map(|error| Problem::error(error.origin, "", error.message)));
    Variables { tree, config_file, errors, problems }
}

struct UnknownVariable {
    at_root: bool,
    message: String,
    hint: Option<String>,
}

impl UnknownVariable {
    fn problem(self, origin: Origin, ignored: bool) -> Problem {
        let problem = if ignored {
            Problem::warning(origin, "", self.message)
        } else {
            Problem::error(origin, "", self.message)
        };
        Problem { hint: self.hint, ..problem }
    }
}

/// The path that a variable means: `_` separates, and numbers are indexes where a list is known to be, with
/// brackets or as `_0_`.
fn path_of<'a>(name: &str, shape: &'a Shape) -> Result<(String, &'a Shape), UnknownVariable> {
    let mut path = String::new();
    let mut shape = shape;
    let mut segments = name.split('_').flat_map(|segment| match segment.split_once('[') {
        Some((name, index)) => [Some(name), index.strip_suffix(']').or(Some(""))],
        None => [Some(segment), None],
    });
    while let Some(segment) = segments.next() {
        let Some(segment) = segment else { continue };
        let inner = match shape {
            Shape::List(inner)
                if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                path.push_str(&format!("[{segment}]"));
                shape = inner;
                continue;
            }
            Shape::Block(keys) => keys.iter().find(|(key, _)| key.eq_ignore_ascii_case(segment)),
            Shape::Map(_) if segment.is_empty() => None,
            Shape::Map(inner) => {
                push(&mut path, &segment.to_lowercase());
                // Nothing is below a text: the rest belongs to its name (`…_CREDENTIALS_CF_DNS_API_TOKEN`).
                if matches!(**inner, Shape::Value) {
                    for segment in segments.by_ref().flatten() {
                        path.push('_');
                        path.push_str(&segment.to_lowercase());
                    }
                }
                shape = inner;
                continue;
            }
            Shape::Any if !segment.is_empty() => {
                push(&mut path, &segment.to_lowercase());
                continue;
            }
            Shape::Any | Shape::Value | Shape::List(_) => None,
        };
        match inner {
            Some((key, inner)) => {
                push(&mut path, key);
                shape = inner;
            }
            None => {
                let below = if path.is_empty() { String::new() } else { format!(" below `{path}`") };
                let known: Vec<_> = match shape {
                    Shape::Block(keys) => keys.iter().map(|(key, _)| *key).collect(),
                    Shape::Value | Shape::Any | Shape::List(_) | Shape::Map(_) => Vec::new(),
                };
                return Err(UnknownVariable {
                    at_root: path.is_empty(),
                    message: format!("unknown key `{}`{below}", segment.to_lowercase()),
                    hint: did_you_mean(segment, known)
                        .map(|key| format!("did you mean `{}`?", key.to_uppercase())),
                });
            }
        }
    }
    Ok((path, shape))
}

fn push(path: &mut String, segment: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(segment);
}

/// Lays one tree over another: maps are joined by name, compared without case, and anything else is replaced.
pub(super) fn overlay(lower: Node, higher: Node) -> Node {
    let value = match (lower.value, higher.value) {
        (value, Value::Null) => return Node { value, origin: lower.origin },
        (Value::Map(below) | Value::Block { entries: below, .. }, Value::Map(above)) => {
            Value::Map(join(below, above))
        }
        (Value::Map(below) | Value::Block { entries: below, .. }, Value::Block { text, entries }) => {
            Value::Block { text, entries: join(below, entries) }
        }
        // A word over a block switches the block on or off.
        (Value::Map(entries) | Value::Block { entries, .. }, Value::Scalar { text, .. }) => {
            Value::Block { text, entries }
        }
        (_, value) => value,
    };
    Node { value, origin: higher.origin }
}

fn join(mut below: Vec<(Key, Node)>, above: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    for (key, node) in above {
        match below.iter_mut().find(|(known, _)| known.text.eq_ignore_ascii_case(&key.text)) {
            Some((known, place)) => {
                known.origin = key.origin;
                let lower = std::mem::replace(place, Node::null(Origin::Gateway));
                *place = overlay(lower, node);
            }
            None => below.push((key, node)),
        }
    }
    below
}
