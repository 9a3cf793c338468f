package vmimage

import (
	"fmt"
	"slices"
	"strings"
)

// inOrder returns the machines as they were given, but each behind those that it is
// after.
func inOrder(machines []Machine) ([]Machine, error) {
	byName := make(map[string]Machine)
	for _, m := range machines {
		if m.Name == "" {
			return nil, fmt.Errorf("a machine without a name")
		}
		if _, ok := byName[m.Name]; ok {
			return nil, fmt.Errorf("machine %s is there twice", m.Name)
		}
		byName[m.Name] = m
	}
	var ordered []Machine
	var way []string // from the machine that is being placed to the one it waits for
	var place func(m Machine) error
	place = func(m Machine) error {
		if slices.ContainsFunc(ordered, func(o Machine) bool { return o.Name == m.Name }) {
			return nil
		}
		if slices.Contains(way, m.Name) {
			return fmt.Errorf("machines wait for each other: %s", strings.Join(append(way, m.Name), " after "))
		}
		way = append(way, m.Name)
		for _, name := range m.After {
			before, ok := byName[name]
			if !ok {
				return fmt.Errorf("machine %s is after %s, which is not configured", m.Name, name)
			}
			if err := place(before); err != nil {
				return err
			}
		}
		way = way[:len(way)-1]
		ordered = append(ordered, m)
		return nil
	}
	for _, m := range machines {
		if err := place(m); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}
