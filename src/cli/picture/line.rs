//! A line of text with colours, and how wide it is.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a piece of text is to look like. Nothing is said by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    /// What explains, and is read once.
    Dim,
    /// What is about stable.
    Stable,
    /// What is about canary.
    Canary,
    Good,
    Doubtful,
    Bad,
}

impl Tone {
    /// The parameters of the escape sequence that switches it on (ECMA-48, section 8.3.117).
    const fn parameters(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Dim => "2",
            Self::Stable => "36",
            Self::Canary => "33",
            Self::Good => "32",
            Self::Doubtful => "35",
            Self::Bad => "1;31",
        }
    }
}

/// A line, as pieces that look alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line(Vec<(Tone, String)>);

impl Line {
    /// A line of one piece.
    pub(crate) fn of(tone: Tone, text: impl Into<String>) -> Self {
        Self::default().and(tone, text)
    }

    /// The line with a piece more. Whatever a terminal could take for a command is made visible.
    pub(crate) fn and(mut self, tone: Tone, text: impl Into<String>) -> Self {
        let text: String = text.into();
        let is_safe = !text.contains(char::is_control);
        let text = match is_safe {
            true => text,
            false => text.replace(char::is_control, "\u{fffd}"),
        };
        self.0.push((tone, text));
        self
    }

    /// The line with another behind it.
    pub(crate) fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// How many columns it takes.
    pub(crate) fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// The line cut off where it would take more columns than there are, and marked as cut.
    pub(crate) fn clipped(self, columns: usize) -> Self {
        if self.width() <= columns {
            return self;
        }
        let mut left = columns.saturating_sub(1);
        let mut pieces = Vec::new();
        for (tone, text) in self.0 {
            let width = text.width();
            if width <= left {
                left -= width;
                pieces.push((tone, text));
                continue;
            }
            let fits = |column: &mut usize, char: char| {
                *column += char.width().unwrap_or(0);
                (*column <= left).then_some(char)
            };
            let kept: String = text.chars().scan(0, fits).collect();
            pieces.push((tone, kept + if columns == 0 { "" } else { "…" }));
            break;
        }
        Self(pieces)
    }

    /// A text in as many lines as it takes, at most so many, cut off where it would take more.
    pub(crate) fn wrapped(tone: Tone, text: &str, columns: usize, lines_max: usize) -> Vec<Self> {
        let mut lines = vec![String::new()];
        for word in text.split_inclusive(' ') {
            let is_last = lines.len() >= lines_max;
            let Some(line) = lines.last_mut() else {
                continue;
            };
            if is_last || line.is_empty() || line.width() + word.trim_end().width() <= columns {
                *line += word;
            } else {
                lines.push(word.to_owned());
            }
        }
        let lines = lines
            .into_iter()
            .map(|line| Self::of(tone, line.trim_end()));
        lines.map(|line| line.clipped(columns)).collect()
    }

    /// The bare text.
    pub(crate) fn plain(&self) -> String {
        let pieces = self.0.iter().map(|(_, text)| text.as_str());
        pieces.collect::<String>().trim_end().to_owned()
    }

    /// The text with the escape sequences for its colours.
    pub(crate) fn painted(&self) -> String {
        let paint = |(tone, text): &(Tone, String)| match tone.parameters() {
            parameters if parameters.is_empty() || text.is_empty() => text.clone(),
            parameters => format!("\x1b[{parameters}m{text}\x1b[0m"),
        };
        self.0.iter().map(paint).collect()
    }
}
