package policy

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/holdfast-backup/holdfast/schemas"
)

// Read reads a record of policies.declared and says what is wrong with it. One without
// a value drops the policy of its key; its event has no id then, and no source.
func Read(key []byte, headers map[string]string, value []byte) (schemas.PolicyDeclared, schemas.Event, error) {
	if value == nil {
		return schemas.PolicyDeclared{Name: string(key), Dropped: true}, schemas.Event{}, Name(string(key))
	}
	e, err := schemas.DecodeEvent(headers, value)
	if err != nil {
		return schemas.PolicyDeclared{}, e, err
	}
	if err := schemas.KnownType(e.Type, schemas.TypePolicyDeclared); err != nil {
		return schemas.PolicyDeclared{}, e, err
	}
	d, err := schemas.ReadData[schemas.PolicyDeclared](e)
	if err != nil {
		return d, e, err
	}
	if err := Name(d.Name); err != nil {
		return d, e, err
	}
	if string(key) != d.Name {
		return d, e, fmt.Errorf("the record's key is %q, and data.name %q: what is kept of a policy is kept by the key, so send its name as that", key, d.Name)
	}
	if d.Dropped {
		return d, e, onlyDropped(d)
	}
	_, err = Compile(d)
	return d, e, err
}

func onlyDropped(d schemas.PolicyDeclared) error {
	said, err := json.Marshal(d)
	if err != nil {
		return err
	}
	alone, err := json.Marshal(schemas.PolicyDeclared{Name: d.Name, Dropped: true})
	if err == nil && string(said) != string(alone) {
		err = errors.New("data: drops the policy, and says what it is: leave out one of the two")
	}
	return err
}

// Taken reads a record of policies.taken, which the intake wrote. It is read with
// tolerance: a newer house may have taken more than this one knows.
func Taken(key []byte, headers map[string]string, value []byte) (d schemas.PolicyDeclared, e schemas.Event, err error) {
	if value == nil {
		return schemas.PolicyDeclared{Name: string(key), Dropped: true}, e, nil
	}
	if e, err = schemas.DecodeEvent(headers, value); err != nil {
		return d, e, err
	}
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return d, e, fmt.Errorf("data: %w", err)
	}
	return d, e, nil
}
