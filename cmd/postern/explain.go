package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"

	"postern/cmd/postern/internal/eventlog"
	"postern/cmd/postern/internal/explain"
)

// explainHelp says what can be explained.
const explainHelp = `say why a client was refused, what would happen now, and what to do:

SESSION-ID     what a user finds in parentheses at the end of the error message
ADDRESS        of a client
ACCOUNT        the name that a client logs in with
NETWORK        in CIDR form, such as 192.0.2.0/24`

// prepareExplain declares the flags of `postern explain`.
func prepareExplain(flags *flag.FlagSet) func(context.Context, process) error {
	asJSON := flags.Bool("json", false, "print JSON")
	return func(ctx context.Context, p process) error {
		if len(p.args) != 1 {
			return wrongUsage("got %d arguments, want the ID of a session, an address, an account or a network", len(p.args))
		}
		var e explain.Explanation
		client, err := p.operatorClient()
		if err == nil {
			err = client.GetJSON(ctx, explain.Path+"?"+url.Values{"about": {p.args[0]}}.Encode(), &e)
		}
		switch {
		case err != nil:
			return fmt.Errorf("explain: %w", err)
		case *asJSON:
			return p.printJSON(e)
		}
		printExplanation(p.stdout, &e)
		return nil
	}
}

// explainWidth is how many columns an explanation has.
const explainWidth = 100

// printExplanation prints an explanation for people.
func printExplanation(w io.Writer, e *explain.Explanation) {
	printWrapped(w, "", "", fmt.Sprintf("%s %s: %s", e.Subject, e.About, e.Summary))
	heading := ""
	for _, f := range e.Facts {
		if f.Heading != heading {
			heading = f.Heading
			printWrapped(w, "", "", "\n"+heading)
		}
		printWrapped(w, "  - ", "    ", f.Text)
	}
	if len(e.Advice) > 0 {
		printWrapped(w, "", "", "\nWhat to do")
	}
	for i, a := range e.Advice {
		first := fmt.Sprintf("%3d. ", i+1)
		printWrapped(w, first, "     ", a.Text)
		if a.Command != "" { // in one line, to be copied
			fmt.Fprintf(w, "     $ %s\n", eventlog.StripControl(a.Command))
		}
	}
}

// printWrapped prints text in lines of at most explainWidth columns, of which the first
// begins with first and the others with further. Line feeds before it are printed too.
func printWrapped(w io.Writer, first, further, text string) {
	for strings.HasPrefix(text, "\n") {
		fmt.Fprintln(w)
		text = text[1:]
	}
	line, columns := first, utf8.RuneCountInString(first)
	for i, word := range strings.Fields(eventlog.StripControl(text)) {
		n := utf8.RuneCountInString(word)
		switch {
		case i > 0 && columns+1+n > explainWidth:
			fmt.Fprintln(w, line)
			line, columns = further+word, utf8.RuneCountInString(further)+n
		case i > 0:
			line, columns = line+" "+word, columns+1+n
		default:
			line, columns = line+word, columns+n
		}
	}
	fmt.Fprintln(w, line)
}
