//! What a query names: its tables, and where a word stands in it.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use anyhow::{Result, anyhow, bail};
use ntana::commands::query::no_table;
use ntana::tables::TableId;
use sqlparser::ast::{self, ObjectName, Visit, Visitor};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserOptions};
use sqlparser::tokenizer::{Token, Tokenizer};

/// A query whose tables exist.
#[derive(Debug)]
pub struct Statement<'q> {
    /// The query.
    pub sql: &'q str,
    /// The tables that it names.
    pub tables: Vec<TableId>,
}

impl<'q> Statement<'q> {
    /// Parses a query, in the dialect that Polars has.
    ///
    /// # Errors
    ///
    /// When it is no SELECT, or names a table that does not exist.
    pub fn parse(sql: &'q str) -> Result<Self> {
        let options = ParserOptions { trailing_commas: true, ..ParserOptions::default() };
        let parser = Parser::new(&GenericDialect).with_options(options).try_with_sql(sql);
        let parsed = parser.and_then(|mut parser| parser.parse_statements());
        let statements =
            parsed.map_err(|wrong| anyhow!("the query is wrong: {}", sentence(&wrong.to_string())))?;
        let [statement] = &statements[..] else {
            bail!("a query is one SELECT, and these are {} statements", statements.len());
        };
        if !matches!(statement, ast::Statement::Query(_) | ast::Statement::Explain { .. }) {
            bail!("only SELECT is answered: captures are never changed");
        }
        let mut named = Named::default();
        let _ = statement.visit(&mut named);
        let mut tables = Vec::new();
        for name in named.relations.difference(&named.given) {
            let table = TableId::from_name(name);
            tables.push(table.ok_or_else(|| anyhow!("{}{}", no_table(name), place_of(sql, name)))?);
        }
        Ok(Self { sql, tables })
    }

    /// A sentence on a column that does not exist in any of its tables.
    pub fn no_column(&self, name: &str) -> String {
        let columns: Vec<&str> =
            self.tables.iter().flat_map(|table| table.columns()).map(|column| column.name).collect();
        let nearest = words::nearest(name, columns.iter().copied());
        let nearest = nearest.unwrap_or_else(|| "`ntana query --schema` lists them".to_owned());
        format!("there is no column `{name}` here; {nearest}{}", place_of(self.sql, name))
    }
}

/// An error of the parser without its name.
fn sentence(text: &str) -> &str {
    text.strip_prefix("sql parser error: ").unwrap_or(text)
}

/// Where a name stands in a query: ` (line 1, column 8)`.
fn place_of(sql: &str, name: &str) -> String {
    let tokens = Tokenizer::new(&GenericDialect, sql).tokenize_with_location().unwrap_or_default();
    let is_it = |token: &Token| matches!(token, Token::Word(word) if word.value == name);
    let found = tokens.iter().find(|token| is_it(&token.token)).map(|token| token.span.start);
    found.map_or_else(String::new, |at| format!(" (line {}, column {})", at.line, at.column))
}

/// Names in a query.
#[derive(Default)]
struct Named {
    /// Tables that it reads, and what it gives names to.
    relations: BTreeSet<String>,
    /// What it gives names to, by WITH.
    given: BTreeSet<String>,
}

impl Visitor for Named {
    type Break = ();

    fn pre_visit_query(&mut self, query: &ast::Query) -> ControlFlow<()> {
        let given = query.with.iter().flat_map(|with| &with.cte_tables);
        self.given.extend(given.map(|table| table.alias.name.value.clone()));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        // The engine looks at the first part of a name only.
        let first = name.0.first().and_then(|part| part.as_ident());
        self.relations.extend(first.map(|ident| ident.value.clone()));
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of a query.
    fn tables(sql: &str) -> Vec<&'static str> {
        Statement::parse(sql).unwrap().tables.into_iter().map(TableId::name).collect()
    }

    /// Why a query is refused.
    fn refusal(sql: &str) -> String {
        Statement::parse(sql).unwrap_err().to_string()
    }

    #[test]
    fn tables_are_found_wherever_they_stand() {
        assert_eq!(tables("select 1"), [""; 0]);
        assert_eq!(
            tables("select * from lives l join sightings s on l.life = s.life"),
            ["lives", "sightings"]
        );
        assert_eq!(
            tables("with a as (select * from events) select * from a where ts in (select ts from losses)"),
            ["events", "losses"]
        );
        assert_eq!(tables("explain select * from probes union select * from clocks"), ["clocks", "probes"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert_eq!(
            refusal("select * from live"),
            "there is no table `live`; nearest to it: lives (line 1, column 15)"
        );
        assert_eq!(
            refusal("select *\nfrom read_parquet('/etc/passwd')"),
            "there is no table `read_parquet`; there are events, lives, sightings, findings, captures, interfaces, probes, \
             losses, clocks (line 2, column 6)"
        );
        assert_eq!(
            refusal("select probe count(*) from events"),
            "the query is wrong: Expected: end of statement, found: ( at Line: 1, Column: 19"
        );
        assert_eq!(refusal("drop table events"), "only SELECT is answered: captures are never changed");
        assert_eq!(refusal("select 1; select 2"), "a query is one SELECT, and these are 2 statements");
    }

    #[test]
    fn columns_are_answered_with_the_nearest_names() {
        let statement = Statement::parse("select\n  sadr from lives").unwrap();
        assert_eq!(
            statement.no_column("sadr"),
            "there is no column `sadr` here; nearest to it: saddr, daddr (line 2, column 3)"
        );
        assert_eq!(
            statement.no_column("xyzzy"),
            "there is no column `xyzzy` here; `ntana query --schema` lists them"
        );
    }
}
