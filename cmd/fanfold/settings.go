package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"github.com/fanfold/fanfold/cluster/configs"
)

// keyDelimiter is viper's for nested keys: one that no config's name holds, so
// that "log.retention.ms" is one name.
const keyDelimiter = "::"

// envPrefix leads the environment variables of configs: log.retention.ms is
// FANFOLD_LOG_RETENTION_MS.
const envPrefix = "FANFOLD_"

// settings are the configs that a node is started with, and where each of them
// came from.
type settings struct {
	static map[string]string // by config name, in the config's own unit
	origin map[string]string // flag, environment variable or file
}

// settingsFlags are the flags of the verbs that start or show a node.
type settingsFlags struct {
	file  string
	set   []string
	named map[string]string // flag → config
}

// namedSettings are the configs that have a flag of their own.
var namedSettings = []struct{ flag, config, usage string }{
	{"data-dir", "log.dirs", "`DIR` that holds everything this node stores"},
	{"listen", "listeners", "`HOST:PORT` where Kafka clients connect"},
	{"advertise", "advertised.listeners", "`HOST:PORT` that clients are told to connect to, where it is another"},
	{"peer-listen", "peer.listen", "`HOST:PORT` where other nodes connect, once there are any"},
	{"http-listen", "http.listen", "`HOST:PORT` of metrics and health, or off"},
	{"node-id", "node.id", "`NUMBER` of this node"},
}

func (f *settingsFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "config", "", "`FILE` of settings: name = value (.properties), YAML, JSON or TOML")
	flags.StringArrayVar(&f.set, "set", nil, "`NAME=VALUE` of any setting; repeat for more")
	f.named = map[string]string{}
	for _, n := range namedSettings {
		def, _ := configs.Find(configs.Broker, n.config)
		flags.String(n.flag, "", n.usage+presetOf(def))
		f.named[n.flag] = n.config
	}
}

func presetOf(def *configs.Definition) string {
	if def == nil || def.NoDefault {
		return ""
	}
	return fmt.Sprintf(" (default %s)", strings.TrimPrefix(def.Default, "PLAINTEXT://"))
}

// load gathers the settings: flag over environment over file over default.
func (f *settingsFlags) load(cmd *cobra.Command) (settings, error) {
	s := settings{static: map[string]string{}, origin: map[string]string{}}
	v := viper.NewWithOptions(viper.KeyDelimiter(keyDelimiter))
	if err := f.readFile(v, &s); err != nil {
		return s, err
	}
	f.readEnvironment(v, &s)
	if err := f.readFlags(cmd, v, &s); err != nil {
		return s, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.origin)) {
		if err := s.take(name, valueText(v.Get(name))); err != nil {
			return s, err
		}
	}
	if _, err := configs.EffectiveBroker(configs.BrokerConfig{Static: s.static}); err != nil {
		return s, usagef("%v", err)
	}
	return s, nil
}

// take checks one setting and stores it in its own unit.
func (s *settings) take(name, value string) error {
	def, err := configs.Find(configs.Broker, name)
	if err != nil {
		return usagef("%s: %v", s.origin[name], err)
	}
	plain, err := configs.FromHuman(def, value)
	if err != nil {
		return usagef("%s: %v", s.origin[name], err)
	}
	if err := configs.Validate(configs.Broker, name, plain); err != nil {
		return usagef("%s: %v", s.origin[name], err)
	}
	s.static[name] = plain
	return nil
}

// readFile reads the configuration file, if one was named.
func (f *settingsFlags) readFile(v *viper.Viper, s *settings) error {
	if f.file == "" {
		return nil
	}
	if err := setFormat(v, f.file); err != nil {
		return err
	}
	v.SetConfigFile(f.file)
	if err := v.ReadInConfig(); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return usagef("configuration file %s does not exist; write it, or leave --config out", f.file)
		}
		return usagef("configuration file %s cannot be read: %v", f.file, err)
	}
	flat := map[string]any{}
	flatten(flat, "", v.AllSettings())
	for name, value := range flat {
		v.Set(name, value)
		s.origin[name] = "file " + f.file
	}
	return nil
}

// flatten joins the keys of nested tables by dots: `log: {dirs: x}` is log.dirs.
func flatten(flat map[string]any, prefix string, tree map[string]any) {
	for key, value := range tree {
		if sub, ok := value.(map[string]any); ok {
			flatten(flat, prefix+key+".", sub)
		} else {
			flat[prefix+key] = value
		}
	}
}

// readEnvironment reads the variable of each config that has one set.
func (f *settingsFlags) readEnvironment(v *viper.Viper, s *settings) {
	for _, def := range configs.All(configs.Broker) {
		variable := envName(def.Name)
		if value, ok := os.LookupEnv(variable); ok {
			v.Set(def.Name, value)
			s.origin[def.Name] = "environment " + variable
		}
	}
}

func envName(config string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(config, ".", "_"))
}

// readFlags reads --set and the named flags, which win.
func (f *settingsFlags) readFlags(cmd *cobra.Command, v *viper.Viper, s *settings) error {
	for _, pair := range f.set {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return usagef("--set %s: write it as NAME=VALUE, for example --set num.partitions=8", pair)
		}
		name = strings.TrimSpace(name)
		v.Set(name, strings.TrimSpace(value))
		s.origin[name] = "flag --set"
	}
	for flag, config := range f.named {
		if given := cmd.Flags().Lookup(flag); given.Changed {
			v.Set(config, given.Value.String())
			s.origin[config] = "flag --" + flag
		}
	}
	return nil
}

// valueText writes what a file's value is, as a config's text.
func valueText(value any) string {
	list, ok := value.([]any)
	if !ok {
		return fmt.Sprint(value)
	}
	items := make([]string, len(list))
	for i, item := range list {
		items[i] = fmt.Sprint(item)
	}
	return strings.Join(items, ",")
}

// setFormat chooses the decoder by the file's ending.
func setFormat(v *viper.Viper, file string) error {
	ending := strings.TrimPrefix(filepath.Ext(file), ".")
	switch ending {
	case "yaml", "yml", "toml":
		return nil
	case "json":
		return useCodec(v, "json", jsonCodec{})
	case "properties", "conf", "":
		return useCodec(v, "properties", propertiesCodec{})
	}
	return usagef("configuration file %s: ending .%s is not known; use .properties, .yaml, .json or .toml", file, ending)
}

func useCodec(v *viper.Viper, format string, codec viper.Codec) error {
	registry := viper.NewCodecRegistry()
	if err := registry.RegisterCodec(format, codec); err != nil {
		return err
	}
	*v = *viper.NewWithOptions(viper.KeyDelimiter(keyDelimiter), viper.WithCodecRegistry(registry))
	v.SetConfigType(format)
	return nil
}

// jsonCodec keeps numbers as they are written: as floats, large ones would come
// out as 6.7108864e+07, or another number.
type jsonCodec struct{}

func (jsonCodec) Decode(data []byte, into map[string]any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&into); err != nil {
		return err
	}
	if decoder.More() {
		return errors.New("there is more than one JSON value")
	}
	return nil
}

func (jsonCodec) Encode(map[string]any) ([]byte, error) { return nil, errors.ErrUnsupported }

// propertiesCodec reads Kafka's own format: lines of name=value, and comments.
type propertiesCodec struct{}

func (propertiesCodec) Decode(data []byte, into map[string]any) error {
	for number, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("line %d is not name=value: %q", number+1, line)
		}
		into[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return nil
}

func (propertiesCodec) Encode(map[string]any) ([]byte, error) { return nil, errors.ErrUnsupported }
