//! Trees from dotted paths: labels, flags, variables.

use std::collections::HashMap;

use super::{DEPTH, DecodeError, Key, Node, Value};
use crate::problem::Origin;

/// Builds a tree from `a.b[0].c` paths and their values, by Traefik's label rules: a dot always separates;
/// names differ from each other by more than case, and the spelling that is first in byte order stays; the
/// path that is last in byte order (of two equal ones, the last given) sets the value; list entries stand in
/// byte order of their paths (`[10]` before `[2]`). A path that cannot be read is left out and reported.
pub fn tree_from_paths<'a>(
    paths: impl IntoIterator<Item = (&'a str, &'a str, Origin)>,
) -> (Node, Vec<DecodeError>) {
    let mut paths: Vec<_> = paths.into_iter().collect();
    paths.sort_by_key(|(path, ..)| *path);
    let mut errors = Vec::new();
    let mut root = Branch::new("", Origin::Gateway);
    for (path, value, origin) in paths {
        if let Err((message, hint)) = root.insert(path, value, &origin) {
            errors.push(DecodeError { origin, path: shortened(path), message, hint });
        }
    }
    (root.into_node().1, errors)
}

/// A node under construction.
struct Branch {
    name: String,
    origin: Origin,
    text: Option<(String, Origin)>,
    children: Vec<Self>,
    /// Position of each child by its name in lower case.
    places: HashMap<String, usize>,
}

type Refusal = (String, Option<String>);

impl Branch {
    fn new(name: &str, origin: Origin) -> Self {
        Self { name: name.to_owned(), origin, text: None, children: Vec::new(), places: HashMap::new() }
    }

    fn insert(&mut self, path: &str, value: &str, origin: &Origin) -> Result<(), Refusal> {
        let parts = split(path)?;
        // Whether the path fits what is there is asked before anything is added, so that a refused path leaves
        // nothing behind.
        let mut there = Some(&*self);
        for part in &parts {
            let Some(branch) = there else { break };
            if let Some(child) = branch.children.first()
                && child.is_index() != part.starts_with('[')
            {
                let message = format!("`{}` is written as a list and as a block", branch.name);
                return Err((message, None));
            }
            there = branch.places.get(&part.to_lowercase()).and_then(|at| branch.children.get(*at));
        }
        let mut branch = self;
        for part in parts {
            let folded = part.to_lowercase();
            let at = match branch.places.get(&folded) {
                Some(at) => *at,
                None => {
                    branch.places.insert(folded, branch.children.len());
                    branch.children.push(Self::new(part, origin.clone()));
                    branch.children.len() - 1
                }
            };
            branch = &mut branch.children[at];
        }
        branch.text = Some((value.to_owned(), origin.clone()));
        Ok(())
    }

    fn is_index(&self) -> bool {
        self.name.starts_with('[')
    }

    fn into_node(self) -> (Key, Node) {
        let list = self.children.first().is_some_and(Self::is_index);
        let mut entries: Vec<_> = self.children.into_iter().map(Self::into_node).collect();
        let (value, origin) = match self.text {
            Some((text, origin)) if entries.is_empty() => (Value::Scalar { text, string: false }, origin),
            // An indexed list wins over a value of the same path, as in Traefik.
            _ if list => {
                (Value::List(entries.drain(..).map(|(_, node)| node).collect()), self.origin.clone())
            }
            Some((text, origin)) => (Value::Block { text, entries }, origin),
            None => (Value::Map(entries), self.origin.clone()),
        };
        (Key { text: self.name, origin: self.origin }, Node { value, origin })
    }
}

/// The segments of a path; an index is a segment of its own, with its brackets.
fn split(path: &str) -> Result<Vec<&str>, Refusal> {
    let mut parts = Vec::new();
    for segment in path.split('.') {
        if segment.is_empty() {
            return Err(("invalid element: an empty name between two dots".to_owned(), None));
        }
        if segment.starts_with('[') {
            return Err((
                "invalid leading character `[`: an index follows a name".to_owned(),
                Some("write the index behind the name, as in `domains[0].main`".to_owned()),
            ));
        }
        match segment.find('[') {
            Some(at) if segment.ends_with(']') => {
                let index = &segment[at + 1..segment.len() - 1];
                if index.is_empty() || !index.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err((
                        format!("`[{}]` is not an index", shortened(index)),
                        Some("write a number, as in `domains[0].main`".to_owned()),
                    ));
                }
                parts.extend([&segment[..at], &segment[at..]]);
            }
            _ => parts.push(segment),
        }
        if parts.len() > DEPTH {
            return Err((format!("nested deeper than {DEPTH} levels"), None));
        }
    }
    Ok(parts)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
