package config

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Command is what the program does for its first argument.
type Command struct {
	Name, Help string
	flags      any      // a pointer to its settings; nil: it has none
	words      []string // what its first argument may be
}

// Commands returns the program's commands. The help and the completions are made from them.
func Commands() []Command {
	return []Command{
		{"serve", "Run the server, as without a command.", &Config{}, nil},
		{"publish", "Publish lines of standard input as events.", &Publish{}, nil},
		{"tail", "Print events as they are published.", &Tail{}, nil},
		{"doctor", "Find what breaks event streams on the way.", &Doctor{}, nil},
		{"backup", "Write a backup of a running server's events.", &Backup{}, nil},
		{"restore", "Make a log from a backup.", &Restore{}, nil},
		{"move", "Move the log of a stopped server to NATS.", &Move{}, nil},
		{"token", "Sign a JSON web token, to try things out.", &Token{}, nil},
		{"healthcheck", "Ask the server on this machine whether it is ready.", &Healthcheck{}, nil},
		{"completion", "Print the completions for a shell.", nil, shells},
		{"version", "Print the version, the commit and the platform.", &Version{}, nil},
	}
}

// commandList is the part of the help that names the commands.
func commandList() string {
	text := "Commands, each with a --help of its own:\n"
	for _, c := range Commands() {
		text += fmt.Sprintf("  %-11s  %s\n", c.Name, c.Help)
	}
	return text
}

var shells = []string{"bash", "zsh", "fish"}

const completionHelp = `Usage: freshet completion bash|zsh|fish

Prints a script that completes commands and flags. Put one of these lines into
the start-up file of your shell:

  source <(freshet completion bash)    # ~/.bashrc
  source <(freshet completion zsh)     # ~/.zshrc, after compinit
  freshet completion fish | source     # ~/.config/fish/config.fish
`

// Completion writes the completions for the shell that the arguments name.
func Completion(args []string, stdout io.Writer) error {
	if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
		fmt.Fprint(stdout, completionHelp)
		return ErrPrinted
	}
	if len(args) != 1 || !slices.Contains(shells, args[0]) {
		return fmt.Errorf("want freshet completion %s", strings.Join(shells, ", or "))
	}
	var list []completed
	for _, c := range Commands() {
		done := completed{Command: c}
		if c.flags != nil {
			parser, err := parserOf(c.flags)
			if err != nil {
				return err
			}
			done.flags = parser.Model.Flags
		}
		list = append(list, done)
	}
	script := map[string]func([]completed) string{"bash": bash, "zsh": zsh, "fish": fish}[args[0]]
	_, err := io.WriteString(stdout, script(list))
	return err
}

// completed is a command with its flags.
type completed struct {
	Command
	flags []*kong.Flag
}

// summary is the first sentence of the help, in one line that needs no quoting inside of '…'.
func summary(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	first, _, _ = strings.Cut(first, ": ")
	return strings.ReplaceAll(strings.TrimSuffix(first, "."), "'", "’")
}

// kind is what kind of file the value of the flag is: FILE, FOLDER or neither.
func kind(flag *kong.Flag) string {
	if !flag.IsBool() && (flag.PlaceHolder == "FILE" || flag.PlaceHolder == "FOLDER") {
		return flag.PlaceHolder
	}
	return ""
}

func bash(commands []completed) string {
	var names []string
	cases := ""
	for _, c := range commands {
		names = append(names, c.Name)
		words, values, files := slices.Clone(c.words), []string{"-"}, map[string][]string{}
		for _, flag := range c.flags {
			name := "--" + flag.Name
			words = append(words, name)
			if files[kind(flag)] = append(files[kind(flag)], name); !flag.IsBool() && kind(flag) == "" {
				values = append(values, name)
			}
		}
		cases += fmt.Sprintf("    %s) words='%s' values=' %s ' files=' %s ' folders=' %s ' ;;\n", c.Name,
			strings.Join(append(words, "--help"), " "), strings.Join(values, " "), strings.Join(files["FILE"], " "), strings.Join(files["FOLDER"], " "))
	}
	return `# Completions of freshet for bash. Use: source <(freshet completion bash)
_freshet() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words values files folders
  COMPREPLY=()
  case ${COMP_WORDS[1]} in
` + cases + `    *) words= ;;
  esac
  if ((COMP_CWORD == 1)) && [[ $word != -* ]]; then
    words='` + strings.Join(names, " ") + `'
  elif [[ ${COMP_WORDS[1]} == -* ]]; then
    case serve in
` + cases + `    esac
  fi
  if [[ $files == *" $previous "* ]]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  elif [[ $folders == *" $previous "* ]]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -d -- "$word")
  elif [[ $values != *" $previous "* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  fi
}
complete -F _freshet freshet
`
}

func zsh(commands []completed) string {
	escape := strings.NewReplacer("[", `\[`, "]", `\]`, ":", `\:`, `\`, `\\`)
	names, cases := "", ""
	for _, c := range commands {
		names += fmt.Sprintf("    '%s:%s'\n", c.Name, escape.Replace(summary(c.Help)))
		arguments := "'--help[Print the help]'"
		if c.words != nil {
			arguments += fmt.Sprintf(" '1:shell:(%s)'", strings.Join(c.words, " "))
		}
		for _, flag := range c.flags {
			one := fmt.Sprintf("--%s[%s]", flag.Name, escape.Replace(summary(flag.Help)))
			switch {
			case flag.IsCumulative():
				one = "*" + one + ":" + flag.PlaceHolder + ": "
			case kind(flag) == "FILE":
				one += ":FILE:_files"
			case kind(flag) == "FOLDER":
				one += ":FOLDER:_files -/"
			case !flag.IsBool():
				one += ":" + flag.PlaceHolder + ": "
			}
			arguments += " \\\n        '" + one + "'"
		}
		cases += "    " + c.Name + ")\n      _arguments " + arguments + " ;;\n"
	}
	return `#compdef freshet
# Completions of freshet for zsh. Use: source <(freshet completion zsh)
_freshet() {
  local command=serve
  local -a names
  names=(
` + names + `  )
  if ((CURRENT == 2)) && [[ $PREFIX != -* ]]; then
    _describe command names
    return
  fi
  if [[ $words[2] != -* ]]; then
    command=$words[2]
    shift words
    ((CURRENT--))
  fi
  case $command in
` + cases + `  esac
}
compdef _freshet freshet
`
}

func fish(commands []completed) string {
	var named []string
	for _, c := range commands {
		named = append(named, c.Name)
	}
	text := "# Completions of freshet for fish. Use: freshet completion fish | source\ncomplete -c freshet -f\n"
	for _, c := range commands {
		text += fmt.Sprintf("complete -c freshet -n __fish_use_subcommand -a %s -d '%s'\n", c.Name, summary(c.Help))
	}
	for _, c := range commands {
		when := "__fish_seen_subcommand_from " + c.Name
		if c.Name == "serve" { // its flags need no command
			when = "not __fish_seen_subcommand_from " + strings.Join(slices.DeleteFunc(slices.Clone(named), func(name string) bool { return name == "serve" }), " ")
		}
		for _, word := range c.words {
			text += fmt.Sprintf("complete -c freshet -n '%s' -a %s\n", when, word)
		}
		for _, flag := range c.flags {
			takes := ""
			if !flag.IsBool() {
				takes = cmp.Or(map[string]string{"FILE": " -r -F", "FOLDER": " -x -a '(__fish_complete_directories)'"}[kind(flag)], " -x")
			}
			text += fmt.Sprintf("complete -c freshet -n '%s' -l %s%s -d '%s'\n", when, flag.Name, takes, summary(flag.Help))
		}
	}
	return text + "complete -c freshet -l help -d 'Print the help'\n"
}
