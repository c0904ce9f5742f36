//! Understands a condition, or says where and why not.
//!
//! Recursive descent, one function for each line of the grammar. What nests (parentheses, `not`,
//! a sign) is bounded by [`DEPTH_MAX`], all else by the length of the text.

use crate::domain::further::condition::CONDITION_BYTES_MAX;
use crate::domain::further::condition::evaluate::{Arithmetic, Comparison, Number, Truth};
use crate::domain::further::condition::token::{Placed, Token, tokens};
use crate::domain::further::values::ValueName;

/// How deeply a condition may nest: far more than anybody can follow, far less than the stack.
const DEPTH_MAX: usize = 32;

/// Words that join or turn truths, and so name no value.
const JOINING: [&str; 3] = ["and", "or", "not"];

/// What is wrong with a condition. Columns are counted in characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// There is nothing.
    #[error("the condition is empty")]
    Empty,
    /// It is too long.
    #[error("the condition is longer than {CONDITION_BYTES_MAX} bytes")]
    TooLong,
    /// It nests too deeply.
    #[error("the condition nests deeper than {DEPTH_MAX} at column {column}")]
    TooDeep {
        /// Where.
        column: usize,
    },
    /// Something else belongs there.
    #[error("expected {expected} at column {column}, found {found}")]
    Unexpected {
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
        /// Where.
        column: usize,
        /// What would have been right, where that can be told.
        hint: Option<String>,
    },
    /// A name that no value has.
    #[error("no value is called `{name}`, at column {column}")]
    UnknownName {
        /// The name.
        name: String,
        /// Where.
        column: usize,
    },
}

/// Understands a whole text.
pub(super) fn parse(text: &str) -> Result<Truth, ConditionError> {
    if text.trim().is_empty() {
        return Err(ConditionError::Empty);
    }
    if text.len() > CONDITION_BYTES_MAX {
        return Err(ConditionError::TooLong);
    }
    let mut parser = Parser {
        tokens: tokens(text)?,
        place: 0,
        depth: 0,
    };
    let column = parser.here().column;
    let term = parser.any()?;
    if parser.here().token != Token::End {
        return Err(parser.unexpected("`and`, `or` or the end", None));
    }
    term.truth(column)
}

/// What a part of a condition is.
enum Term {
    Number(Number),
    Truth(Truth),
}

impl Term {
    fn number(self, column: usize) -> Result<Number, ConditionError> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Truth(_) => Err(ConditionError::Unexpected {
                expected: "a number",
                found: "a comparison".to_owned(),
                column,
                hint: Some("join comparisons with `and`: `1 < a and a < 2`".to_owned()),
            }),
        }
    }

    fn truth(self, column: usize) -> Result<Truth, ConditionError> {
        match self {
            Self::Truth(truth) => Ok(truth),
            Self::Number(_) => Err(ConditionError::Unexpected {
                expected: "a comparison",
                found: "a number".to_owned(),
                column,
                hint: Some("compare it, as in `latency_mean_ms < 1000`".to_owned()),
            }),
        }
    }
}

struct Parser<'t> {
    tokens: Vec<Placed<'t>>,
    place: usize,
    depth: usize,
}

type Parsed = Result<Term, ConditionError>;

impl<'t> Parser<'t> {
    /// Comparisons joined by `or`.
    fn any(&mut self) -> Parsed {
        self.joined("or", Self::every, |one, other| {
            Truth::Or(Box::new(one), Box::new(other))
        })
    }

    /// Comparisons joined by `and`.
    fn every(&mut self) -> Parsed {
        self.joined("and", Self::turned, |one, other| {
            Truth::And(Box::new(one), Box::new(other))
        })
    }

    fn joined(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Parsed,
        join: fn(Truth, Truth) -> Truth,
    ) -> Parsed {
        let mut column = self.here().column;
        let mut whole = part(self)?;
        while self.here().token == Token::Word(word) {
            let one = whole.truth(column)?;
            self.take();
            column = self.here().column;
            let other = part(self)?.truth(column)?;
            whole = Term::Truth(join(one, other));
        }
        Ok(whole)
    }

    fn turned(&mut self) -> Parsed {
        if self.here().token != Token::Word("not") {
            return self.comparison();
        }
        self.take();
        let column = self.here().column;
        let turned = self.deeper(Self::turned)?.truth(column)?;
        Ok(Term::Truth(Truth::Not(Box::new(turned))))
    }

    fn comparison(&mut self) -> Parsed {
        let column = self.here().column;
        let left = self.sum()?;
        let Some(comparison) = self.symbol(Comparison::of) else {
            return Ok(left);
        };
        let left = left.number(column)?;
        self.take();
        let column = self.here().column;
        let right = self.sum()?.number(column)?;
        if self.symbol(Comparison::of).is_some() {
            let hint = "join comparisons with `and`: `1 < a and a < 2`";
            return Err(self.unexpected("`and`, `or` or the end", Some(hint)));
        }
        Ok(Term::Truth(Truth::Compared(left, comparison, right)))
    }

    fn sum(&mut self) -> Parsed {
        self.computed(Arithmetic::of_sum, Self::product)
    }

    fn product(&mut self) -> Parsed {
        self.computed(Arithmetic::of_product, Self::signed)
    }

    fn computed(
        &mut self,
        operator: fn(&str) -> Option<Arithmetic>,
        part: fn(&mut Self) -> Parsed,
    ) -> Parsed {
        let mut column = self.here().column;
        let mut whole = part(self)?;
        while let Some(operator) = self.symbol(operator) {
            let left = Box::new(whole.number(column)?);
            self.take();
            column = self.here().column;
            let right = Box::new(part(self)?.number(column)?);
            whole = Term::Number(Number::Computed(left, operator, right));
        }
        Ok(whole)
    }

    fn signed(&mut self) -> Parsed {
        if self.here().token != Token::Symbol("-") {
            return self.operand();
        }
        self.take();
        let column = self.here().column;
        let number = self.deeper(Self::signed)?.number(column)?;
        Ok(Term::Number(Number::Negated(Box::new(number))))
    }

    fn operand(&mut self) -> Parsed {
        let Placed { token, column } = self.here();
        match token {
            Token::Number(number) => {
                self.take();
                Ok(Term::Number(Number::Constant(number)))
            }
            Token::Word(word) if !JOINING.contains(&word) => {
                let name = ValueName::read(word).ok_or_else(|| ConditionError::UnknownName {
                    name: word.to_owned(),
                    column,
                })?;
                self.take();
                Ok(Term::Number(Number::Value(name)))
            }
            Token::Symbol("(") => {
                self.take();
                let within = self.deeper(Self::any)?;
                if self.here().token != Token::Symbol(")") {
                    let hint = format!("`(` at column {column} is not closed");
                    return Err(self.unexpected("`)`", Some(&hint)));
                }
                self.take();
                Ok(within)
            }
            Token::Word(_) | Token::Symbol(_) | Token::End => {
                Err(self.unexpected("a number, a name or `(`", None))
            }
        }
    }

    fn deeper(&mut self, part: fn(&mut Self) -> Parsed) -> Parsed {
        if self.depth == DEPTH_MAX {
            let column = self.here().column;
            return Err(ConditionError::TooDeep { column });
        }
        self.depth += 1;
        let parsed = part(self)?;
        self.depth -= 1;
        Ok(parsed)
    }

    /// The operator that comes next, where it is of a kind.
    fn symbol<T>(&self, of: impl Fn(&str) -> Option<T>) -> Option<T> {
        match self.here().token {
            Token::Symbol(symbol) => of(symbol),
            Token::Number(_) | Token::Word(_) | Token::End => None,
        }
    }

    /// The token that comes next. The last one is [`Token::End`], which nothing takes.
    fn here(&self) -> Placed<'t> {
        self.tokens[self.place.min(self.tokens.len() - 1)]
    }

    const fn take(&mut self) {
        self.place += 1;
    }

    fn unexpected(&self, expected: &'static str, hint: Option<&str>) -> ConditionError {
        let Placed { token, column } = self.here();
        ConditionError::Unexpected {
            expected,
            found: match token {
                Token::Number(number) => format!("`{number}`"),
                Token::Word(word) => format!("`{word}`"),
                Token::Symbol(symbol) => format!("`{symbol}`"),
                Token::End => "the end".to_owned(),
            },
            column,
            hint: hint.map(str::to_owned),
        }
    }
}
