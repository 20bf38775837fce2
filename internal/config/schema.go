package config

import (
	"encoding/json"
	"reflect"
)

// Schema returns the JSON Schema (draft 2020-12) of the configuration file,
// for editors. It is made from the structs that the file is read into.
func Schema() []byte {
	root := schemaOf(reflect.TypeFor[Config]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "Gatelodge configuration"
	text, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("schema of plain maps: " + err.Error())
	}
	return append(text, '\n')
}

type schema = map[string]any

func schemaOf(t reflect.Type) schema {
	switch {
	case t == secretType:
		named := func(key string) schema {
			return schema{
				"type": "object", "additionalProperties": false, "required": []string{key},
				"properties": schema{key: schema{"type": "string", "minLength": 1}},
			}
		}
		return schema{"anyOf": []schema{named("env"), named("file"), {"type": "string", "minLength": 1}}}
	case t == durationType:
		return schema{"type": []string{"string", "integer"}, "pattern": `^([0-9]+d)?([0-9]+(\.[0-9]+)?(h|m|s|ms))*$`}
	case t == prefixType, reflect.PointerTo(t).Implements(unmarshalType):
		return words(t)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Struct:
		return objectSchema(t)
	case reflect.Slice:
		item := schemaOf(t.Elem())
		if t.Elem().Kind() == reflect.Struct && t.Elem() != secretType && t.Elem() != prefixType {
			return schema{"type": "array", "items": item}
		}
		return schema{"anyOf": []schema{{"type": "array", "items": item}, item}}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return schema{"type": "integer"}
	case reflect.Float64:
		return schema{"type": "number"}
	}
	// YAML reads words such as 123 or true as other types where text is meant.
	return schema{"type": []string{"string", "number", "boolean"}}
}

// words lists what a one-word setting may be, by trying its type's own values.
func words(t reflect.Type) schema {
	m, ok := reflect.New(t).Interface().(interface{ MarshalText() ([]byte, error) })
	if !ok || t.Kind() != reflect.Uint8 {
		return schema{"type": "string"}
	}
	var list []string
	for v := reflect.ValueOf(m).Elem(); ; v.SetUint(v.Uint() + 1) {
		word, ok := wordOf(m)
		if !ok {
			return schema{"enum": list}
		}
		list = append(list, word)
	}
}

// wordOf reports false one past the last value, where the table of words ends.
func wordOf(m interface{ MarshalText() ([]byte, error) }) (word string, ok bool) {
	defer func() {
		if recover() != nil {
			word, ok = "", false
		}
	}()
	b, err := m.MarshalText()
	return string(b), err == nil
}

func objectSchema(t reflect.Type) schema {
	properties := schema{}
	for f := range t.Fields() {
		name := f.Tag.Get("yaml")
		if name == "" {
			continue
		}
		s := schemaOf(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			s["description"] = doc
		}
		properties[name] = s
	}
	return schema{"type": "object", "additionalProperties": false, "properties": properties}
}
