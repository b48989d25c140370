//! Aligned columns.

use super::one_line;

/// Returns rows as lines, each column as wide as its widest cell, the last one as long as it is. A cell is one line.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| one_line(cell))).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let line = |cells: [&str; N]| {
        let padded: Vec<_> =
            cells.iter().enumerate().map(|(n, cell)| format!("{cell:<0$}", width(n))).collect();
        padded.join("   ").trim_end().to_owned()
    };
    let mut lines = vec![line(head)];
    lines.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let rows = [["a".to_owned(), "long cell".to_owned()], ["longer".to_owned(), String::new()]];
        assert_eq!(super::table(["X", "Y"], &rows), "X        Y\na        long cell\nlonger");
    }

    #[test]
    fn no_cell_begins_a_line_or_moves_the_cursor() {
        let rows = [["dev".to_owned(), "because\ndev   Synced \u{1b}[31m".to_owned()]];
        assert_eq!(super::table(["X", "Y"], &rows), "X     Y\ndev   because dev   Synced \u{fffd}[31m");
    }
}
