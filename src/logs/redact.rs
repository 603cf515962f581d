//! The values of a container's secret variables, and text without them.
//!
//! Lines are whole here, however the engine has framed them and in whatever reads they came. What may be
//! cut is a line's edge: where it was too long, where the log begins or ends within it. There half a secret
//! is hidden as well, and now and then something that only looks like half of one.

use std::{cmp::Reverse, collections::HashSet, fmt, ops::Range, sync::Arc};

use aho_corasick::{Anchored, Input, MatchKind, automaton::Automaton, nfa::contiguous::NFA};
use memchr::memmem;

use super::{Line, ansi::Plain};
use crate::engine::Env;

/// What the name of a secret variable contains.
const WORDS: [&str; 4] = ["PASSWORD", "TOKEN", "SECRET", "KEY"];

/// The least length of a secret in bytes. A shorter value, `1` or `on`, would be found all over a log, and
/// guessed anyway.
const LEAST: usize = 4;

/// Which variables are secret, and whether that matters where nobody asks.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    forced: bool,
    words: Vec<String>,
}

impl Redaction {
    /// For all answers if `forced`; a name is secret by the `words` too.
    pub fn new(forced: bool, words: &[String]) -> Self {
        let words = words.iter().map(|word| word.trim().to_ascii_uppercase());
        let words = words.filter(|word| !word.is_empty()).collect();
        Self { forced, words }
    }

    /// What to take out of a log of a container with this environment, where that is `asked` for or forced.
    pub fn secrets(&self, env: &Env, asked: bool) -> Option<Secrets> {
        if !asked && !self.forced {
            return None;
        }
        let variables = env.0.iter().filter_map(|variable| variable.split_once('='));
        Secrets::new(variables.filter(|(name, _)| self.is_secret(name)))
    }

    fn is_secret(&self, name: &str) -> bool {
        let name = name.to_ascii_uppercase();
        let mut words = WORDS
            .into_iter()
            .chain(self.words.iter().map(String::as_str));
        words.any(|word| name.contains(word))
    }
}

/// What is searched for and hidden. Clones share it.
#[derive(Clone)]
pub struct Secrets {
    /// The faster DFA would take up to a kibibyte for each byte of the secrets.
    automaton: Arc<NFA>,
    values: Arc<[Secret]>,
}

#[derive(PartialEq, Eq)]
struct Secret {
    value: Box<[u8]>,
    /// What is shown instead.
    mark: Arc<str>,
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} redacted)", self.values.len())
    }
}

impl Secrets {
    /// The values of these variables; none if there is nothing to hide.
    fn new<'a>(variables: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let (mut values, mut known) = (Vec::new(), HashSet::new());
        for (name, value) in variables {
            let mark: Arc<str> = format!("[redacted {name}]").into();
            // Lines are looked at one by one, so a value is too; and some are shown without escape sequences.
            for line in value.lines().map(|line| line.trim_end_matches('\r')) {
                let stripped =
                    Plain::of(line.as_bytes()).map(|plain| plain.take_from(line.as_bytes()));
                for value in [Some(line.into()), stripped].into_iter().flatten() {
                    let value: Box<[u8]> = value.into();
                    if value.len() >= LEAST && known.insert(value.clone()) {
                        let mark = Arc::clone(&mark);
                        values.push(Secret { value, mark });
                    }
                }
            }
        }
        if values.is_empty() {
            return None;
        }
        let automaton = NFA::builder()
            // All that are there: of two that overlap, each is a secret.
            .match_kind(MatchKind::Standard)
            .build(values.iter().map(|secret| &secret.value))
            .expect(
                "an inspect that could be read has far fewer bytes than there are state numbers",
            );
        Some(Self {
            automaton: Arc::new(automaton),
            values: values.into(),
        })
    }

    /// The line's text with its secrets hidden, and `stripped` of all that is not `plain`, which is known where that is not all
    /// of it; none if it has none.
    pub fn hide(&self, line: &Line, plain: Option<&Plain>, stripped: bool) -> Option<Vec<u8>> {
        let found = self.find_all(line, plain);
        if found.is_empty() {
            return None;
        }
        let whole = 0..line.text().len();
        let shown = match plain {
            Some(plain) if stripped => plain.ranges(),
            _ => std::slice::from_ref(&whole),
        };
        Some(self.replace(found, line.text(), shown))
    }

    /// Where secrets stand in the line and in what is `plain` of it, in order; those that overlap are one.
    fn find_all(&self, line: &Line, plain: Option<&Plain>) -> Vec<Found> {
        let mut found = self.find(line);
        if let Some(plain) = plain {
            // A terminal shows what sequences in it cut up, and takes what stands behind one that broke off for its end.
            let line = Line {
                bytes: plain.take_from(line.text()).into(),
                stamp: 0,
                ..line.clone()
            };
            let found_there = self.find(&line).into_iter();
            found.extend(
                found_there.map(|(from, to, secret)| {
                    (plain.whence(from), plain.whence(to - 1) + 1, secret)
                }),
            );
        }
        // Of those that begin alike the longest gives its name.
        found.sort_unstable_by_key(|(from, to, secret)| (*from, Reverse(*to), *secret));
        found.dedup_by(|(from, to, _), (_, end, _)| {
            let overlaps = *from < *end;
            if overlaps {
                *end = (*end).max(*to);
            }
            overlaps
        });
        found
    }

    /// What is `shown` of a text, with marks in place of what was found, which is in order.
    fn replace(&self, found: Vec<Found>, text: &[u8], shown: &[Range<usize>]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len());
        let to_mark = found
            .into_iter()
            .map(|(from, to, secret)| (from, to, Some(secret)));
        let mut found = to_mark.peekable();
        for range in shown {
            let mut at = range.start;
            while let Some((from, to, secret)) =
                found.peek_mut().filter(|(from, ..)| *from < range.end)
            {
                if *to > at {
                    out.extend_from_slice(&text[at..at.max(*from)]);
                    // Once, though it may be shown in parts.
                    if let Some(secret) = secret.take() {
                        out.extend_from_slice(self.values[secret].mark.as_bytes());
                    }
                    at = range.end.min(*to);
                }
                if *to > range.end {
                    break;
                }
                found.next();
            }
            out.extend_from_slice(&text[at..range.end]);
        }
        out
    }

    /// Where secrets stand in the line.
    fn find(&self, line: &Line) -> Vec<Found> {
        let mut found = self.find_whole(line.text());
        self.find_cut(line, &mut found);
        found
    }

    /// The secrets in the text, those that overlap as one: it has the name of the first, else of the longest.
    fn find_whole(&self, text: &[u8]) -> Vec<Found> {
        let mut all: Vec<Found> = Vec::new();
        let automaton = &*self.automaton;
        let searched = "it searches anywhere, for the earliest too";
        let first = automaton.try_find(&Input::new(text).earliest(true));
        if first.expect(searched).is_none() {
            return all;
        }
        let mut state = automaton.start_state(Anchored::No).expect(searched);
        // They come by where they end.
        for (at, byte) in text.iter().enumerate() {
            state = automaton.next_state(Anchored::No, state, *byte);
            if !automaton.is_match(state) {
                continue;
            }
            // Of those that end here the longest is the first, and the others are in it.
            let found = automaton.match_pattern(state, 0);
            let to = at + 1;
            let mut from = to - automaton.pattern_len(found);
            let mut secret = found.as_usize();
            // At once, else a text that repeats itself would have more of them than bytes.
            while let Some((before, _, other)) = all.pop_if(|(_, end, _)| *end > from) {
                if before < from {
                    (from, secret) = (before, other);
                }
            }
            all.push((from, to, secret));
        }
        all
    }

    /// The parts of secrets at the line's edges, as far as something may be missing there.
    fn find_cut(&self, line: &Line, found: &mut Vec<Found>) {
        let (front, back) = (
            least(line.continued, line.first),
            least(line.more, line.open),
        );
        if front.is_none() && back.is_none() {
            return;
        }
        let text = line.text();
        for (at, Secret { value, .. }) in self.values.iter().enumerate() {
            let most = text.len().min(value.len());
            if let Some(least) = front {
                let reversed: Vec<u8> = value.iter().rev().copied().collect();
                let len = overlap(&reversed, text[..most].iter().rev());
                found.extend((len >= least).then_some((0, len, at)));
            }
            if let Some(least) = back {
                let len = overlap(value, &text[text.len() - most..]);
                found.extend((len >= least).then_some((text.len() - len, text.len(), at)));
            }
            // A secret can be longer than a line.
            if let (Some(front), Some(back)) = (front, back)
                && text.len() >= front.max(back)
                && memmem::find(value, text).is_some()
            {
                found.push((0, text.len(), at));
            }
        }
    }
}

/// From where to where, and which secret.
type Found = (usize, usize, usize);

/// How much of a secret must be seen at an edge to be hidden. An edge that `may` be cut is mostly none.
fn least(is_cut: bool, may_be_cut: bool) -> Option<usize> {
    match (is_cut, may_be_cut) {
        (true, _) => Some(1),
        (false, true) => Some(LEAST),
        (false, false) => None,
    }
}

/// The length of the longest beginning of `pattern` that `text` ends with, in time linear in both (Knuth,
/// Morris, Pratt).
fn overlap<'a>(pattern: &[u8], text: impl IntoIterator<Item = &'a u8>) -> usize {
    // For each beginning of the pattern, the longest shorter one that it ends with.
    let mut borders = vec![0; pattern.len()];
    let step = |borders: &[usize], mut len: usize, byte: u8| {
        while len > 0 && pattern.get(len) != Some(&byte) {
            len = borders[len - 1];
        }
        len + usize::from(pattern[len] == byte)
    };
    for at in 1..pattern.len() {
        borders[at] = step(&borders, borders[at - 1], pattern[at]);
    }
    let text = text.into_iter();
    text.fold(0, |len, byte| step(&borders, len, *byte))
}

#[cfg(test)]
mod tests;
