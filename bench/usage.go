package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"reuseport-bench/results/command"
	"reuseport-bench/scenarios/strictyaml"
)

// usagef returns a usage error for a command. The error points to the command's help.
func usagef(c *cobra.Command, format string, args ...any) error {
	help := command.Line("help")
	if c.HasParent() {
		path := strings.TrimPrefix(c.CommandPath(), c.Root().Name())
		help = command.Program() + path + " --help"
	}
	return usage(fmt.Errorf("%s; see '%s'", fmt.Sprintf(format, args...), help))
}

// maxQuoted is the maximum number of bytes of an argument that a message repeats.
const maxQuoted = 80

// quoted formats an argument for a message: in quotes, with control characters escaped, and
// truncated if it is longer than maxQuoted.
func quoted(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	at := maxQuoted
	for at > 0 && !utf8.RuneStart(s[at]) {
		at--
	}
	return strconv.Quote(s[:at]+"…") + fmt.Sprintf(" (%d bytes)", len(s))
}

// maxListed is the maximum number of problems or words that a message lists.
const maxListed = 20

// firstOf returns the first maxListed items. If there are more, a last item counts them.
func firstOf(items []string) []string {
	if len(items) <= maxListed {
		return items
	}
	return append(slices.Clone(items[:maxListed]), fmt.Sprintf("and %d more", len(items)-maxListed))
}

// instead returns the hint for an unknown word: the similar words in among, or all of them if none
// is similar.
func instead(word string, among []string) string {
	return strictyaml.DidYouMean(word, among, "there are: "+strings.Join(firstOf(among), ", "))
}

// takes returns a function that checks the number of arguments. Its error messages contain what, a
// description of the arguments.
func takes(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch n := len(args); {
		case n < least:
			return usagef(c, "%s needs %s", c.Name(), what)
		case n > most && most == 0:
			return usagef(c, "%s takes no arguments, and has %s", c.Name(), quoted(args[0]))
		case n > most:
			return usagef(c, "%s takes %s and nothing else, and has %s",
				c.Name(), what, quoted(args[most]))
		}
		return nil
	}
}

// noEmpty rejects empty arguments and empty flag values, which may come from an unset shell
// variable.
func noEmpty(c *cobra.Command, args []string) (err error) {
	if isCompletion(c) { // the word to complete may be empty
		return nil
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		if err == nil && (len(values) == 0 || slices.Contains(values, "")) {
			err = usagef(c, `--%s "": needs a value; leave the flag out for the default`, f.Name)
		}
	})
	if err == nil && slices.Contains(args, "") {
		err = usagef(c, `%s has the empty argument ""; is a variable of the shell not set?`,
			c.Name())
	}
	return err
}

// exclusive returns an error if more than one of the named flags is given. Its message contains
// why, the reason.
func exclusive(c *cobra.Command, why string, names ...string) error {
	names = slices.DeleteFunc(names, func(name string) bool { return !c.Flags().Changed(name) })
	if len(names) < 2 {
		return nil
	}
	return usagef(c, "--%s and --%s do not go together: %s", names[0], names[1], why)
}

// flagValues maps the type of a flag to a description of its values.
var flagValues = map[string]string{
	"bool":     "true or false, or nothing",
	"int":      "a whole number",
	"uint64":   "a whole number from 0 to 2^64-1",
	"duration": "a duration", // flagError adds the default as an example
	"colour":   "auto, always or never",
}

// flagError replaces cobra's errors about flags by our own.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	var syntax *pflag.InvalidSyntaxError
	switch {
	case !c.HasParent() && c.Flags().NArg() > 0: // the flags follow an unknown command
		return unknownCommand(c, c.Flags().Arg(0))
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		values := flagValues[f.Value.Type()]
		if f.Value.Type() == "duration" {
			values += ", for example " + f.DefValue
		}
		return usagef(c, "--%s %s: must be %s", f.Name, quoted(invalid.GetValue()), values)
	case errors.As(err, &missing):
		return usagef(c, "--%s: needs a value", missing.GetFlag().Name)
	case errors.As(err, &unknown):
		name := "--" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			name = "-" + unknown.GetSpecifiedName()
		}
		return usagef(c, "there is no flag %s; %s", quoted(name), instead(name, flagNames(c)))
	case errors.As(err, &syntax):
		return usagef(c, "%s is no flag; write --NAME or --NAME=VALUE",
			quoted(syntax.GetSpecifiedFlag()))
	}
	return usagef(c, "%v", err)
}

func flagNames(c *cobra.Command) (names []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return names
}

// unknownCommand returns the error for a word that is not a command below c.
func unknownCommand(c *cobra.Command, word string) error {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			names = append(names, sub.Name())
		}
	}
	if len(names) == 0 {
		return usagef(c, "%s has no commands of its own, and is followed by %s",
			c.Name(), quoted(word))
	}
	return usagef(c, "there is no command %s; %s", quoted(word), instead(word, names))
}

// newHelp returns the help command. Unlike cobra's, it rejects unknown commands.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Say what a command does",
		RunE: func(c *cobra.Command, args []string) error {
			about, rest, err := c.Root().Find(args)
			switch {
			case err != nil:
				return usage(err)
			case len(rest) > 0:
				return unknownCommand(about, rest[0])
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}

// adaptCompletion replaces the texts and errors of cobra's completion command by our own.
func adaptCompletion(c *cobra.Command) {
	c.Short = "Print the script that completes commands, scenarios, labels and runs in a shell"
	c.Long = c.Short + `.

  source <(reuseport-bench completion bash)   # for this shell; 'make install' does it for all`
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(c, args[0])
		}
		return c.Help()
	}
	for _, shell := range c.Commands() {
		shell.Args = takes(0, 0, "")
	}
}
