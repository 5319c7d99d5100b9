package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"reuseport-bench/bench/internal/reference"
	"reuseport-bench/results/command"
	"reuseport-bench/results/report/document"
)

func newExplain(s *session) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain [WORD …]",
		Short: "Explain a word: a term, cause, setting, value, metric, column or exit status",
		Long: `Explain says what a word of scenario files, reports and documents means: terms such as gap,
causes of lost attempts, settings such as load.rate, their values, metrics, columns of tables, claims,
exit statuses and commands. Without a WORD it lists them all.`,
		Example: `  reuseport-bench explain reset_at_close
  reuseport-bench explain drop window
  reuseport-bench explain stop=drain load.rate 3`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			all := referenceEntries(c.Root())
			if len(args) == 0 && !asJSON {
				return listWords(c.OutOrStdout(), s.width, all)
			}
			found, err := findWords(c, all, args)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), found)
			}
			return printEntries(c.OutOrStdout(), s.width, found)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON array of entries")
	completeWords(c)
	return c
}

// referenceEntries returns an entry for every word.
func referenceEntries(root *cobra.Command) []reference.Entry {
	return reference.Entries(referenceCommands(root), exitStatuses())
}

// findWords returns the entries for words. It looks the words up as one term, such as "drop
// window", and if there is no such term, one by one. Without words it returns all entries.
func findWords(
	c *cobra.Command, all []reference.Entry, words []string,
) (found []reference.Entry, err error) {
	if len(words) == 0 {
		return all, nil
	}
	if found = reference.Find(all, strings.Join(words, " ")); len(found) > 0 {
		return found, nil
	}
	for _, word := range words {
		entries := reference.Find(all, word)
		if len(entries) == 0 {
			return nil, usagef(c, "%s is not a word of this program; %s", quoted(word),
				insteadOfWord(word, reference.Names(all)))
		}
		found = append(found, entries...)
	}
	return found, nil
}

// insteadOfWord returns the hint for an unknown word.
func insteadOfWord(word string, names []string) string {
	if hint := instead(strings.ToLower(word), names); strings.HasPrefix(hint, "did you mean") {
		return hint
	}
	return "'" + command.Line("explain") + "' lists all words"
}

// printEntries prints the text of each entry, one below the other.
func printEntries(w io.Writer, width int, entries []reference.Entry) error {
	for i, e := range entries {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n\n", e.Name, e.Kind); err != nil {
			return err
		}
		doc := []document.Definition{{Text: e.Doc}}
		if err := document.WriteDefinitions(w, width, doc); err != nil {
			return err
		}
		var facts []document.Definition
		for _, f := range e.Facts {
			facts = append(facts, document.Definition{Word: f.Name, Text: f.Text})
		}
		if len(e.Related) > 0 {
			text := strings.Join(e.Related, ", ")
			facts = append(facts, document.Definition{Word: "related", Text: text})
		}
		if e.Source != "" {
			facts = append(facts, document.Definition{Word: "source", Text: e.Source})
		}
		if len(facts) > 0 {
			fmt.Fprintln(w)
		}
		if err := document.WriteDefinitions(w, width, facts); err != nil {
			return err
		}
	}
	return nil
}

// listWords prints the names of all entries, grouped by kind.
func listWords(w io.Writer, width int, all []reference.Entry) error {
	for i, k := range reference.Kinds(all) {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintln(w, k.Name); err != nil {
			return err
		}
		names := []document.Definition{{Text: strings.Join(k.Names, ", ")}}
		if err := document.WriteDefinitions(w, width, names); err != nil {
			return err
		}
	}
	return nil
}

// referenceCommands describes the commands that the program's help lists.
func referenceCommands(root *cobra.Command) (all []reference.Command) {
	for _, c := range root.Commands() {
		if !c.IsAvailableCommand() {
			continue
		}
		name := strings.TrimPrefix(c.CommandPath(), root.Name()+" ")
		use := strings.TrimPrefix(c.UseLine(), root.Name()+" ")
		all = append(all, reference.Command{
			Name: name, Use: strings.TrimSuffix(use, " [flags]"), Doc: c.Short,
			Flags: referenceFlags(c),
		})
	}
	slices.SortFunc(all, func(a, b reference.Command) int {
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// flagTypes maps a flag's type in pflag to the placeholder of its value in the reference. A switch
// has the placeholder "".
var flagTypes = map[string]string{
	"": "", "string": "TEXT", "stringArray": "TEXT", "strings": "LIST", "int": "N", "uint": "N",
	"duration": "DURATION",
}

// referenceFlags describes the flags of a command.
func referenceFlags(c *cobra.Command) (all []reference.Flag) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		kind, doc := pflag.UnquoteUsage(f)
		byDefault := strings.Trim(f.DefValue, "[]")
		if slices.Contains([]string{"false", "0", "0s"}, byDefault) {
			byDefault = ""
		}
		all = append(all, reference.Flag{
			Name: f.Name, Type: flagTypes[kind], Default: byDefault, Doc: doc,
		})
	})
	return all
}
