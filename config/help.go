package config

import (
	"fmt"

	"github.com/alecthomas/kong"
)

const description = `An event server for browsers.`

// describe adds the default and the variable to the help of a flag.
func describe(value *kong.Value) string {
	switch {
	case value.IsBool():
		return value.Help
	case value.Default == "":
		return fmt.Sprintf("%s [%s]", value.Help, variable(value.Name))
	}
	return fmt.Sprintf("%s [default %s, %s]", value.Help, value.Default, variable(value.Name))
}
