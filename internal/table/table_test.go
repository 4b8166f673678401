package table

import (
	"strings"
	"testing"
)

func TestTableAligns(t *testing.T) {
	table := New(Left("NAME"), Right("RECORDS"), Left("NOTE"))
	table.Row("orders", 12, "new")
	table.Row("訂單", 1234567, "")
	table.Row("e\u0301te", "-", "a\nb")
	var out strings.Builder
	if err := table.Write(&out); err != nil {
		t.Fatal(err)
	}
	want := "" +
		"NAME    RECORDS  NOTE\n" +
		"orders       12  new\n" +
		"訂單    1234567\n" +
		"e\u0301te           -  a b\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if table.Len() != 3 {
		t.Errorf("Len() = %d", table.Len())
	}
}

func TestTableDecoratesHeadingsWithoutMovingColumns(t *testing.T) {
	table := New(Left("A"), Right("B"))
	table.Indent, table.Heading = "  ", func(s string) string { return "<" + s + ">" }
	table.Row("long name", 1)
	var out strings.Builder
	if err := table.Write(&out); err != nil {
		t.Fatal(err)
	}
	if want := "  <A>          <B>\n  long name  1\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "é": 1, "日本": 4, "e\u0301": 1, "🎉": 2, "\u200b": 0, "ＡＢ": 4} {
		if got := Width(s); got != want {
			t.Errorf("Width(%q) = %d, want %d", s, got, want)
		}
	}
}
