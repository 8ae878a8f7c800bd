package schemas

import "testing"

// The ids are a public contract: ops/docs/events.md tells senders how to compute
// them, and the first vector was made by sha256sum.
func TestIDsAreFrozen(t *testing.T) {
	job := JobID("/nightly", "2026-11-24")
	for _, c := range []struct {
		name string
		got  UUID
		want string
	}{
		{"job", job, "9442fd1a-906d-8da2-9a3b-33c1590e5006"},
		{"backup", BackupID(job, "vc-a", "vm-1"), "451f7f0f-7e86-8c53-965e-d659c426c9b8"},
		{"unknown", UnknownID(job, "web-1"), "f73f6704-a598-84e3-9f76-ff390cb3429a"},
		{"place", PlaceID("backups.requested", 3, 7), "87584150-ac18-812c-971e-ec8ba203ae6d"},
		{"restore", RestoreID("/nightly", "2026-11-24"), "6aa8f953-111f-8311-a088-a53a4b5c2dfe"},
		{"policy job", PolicyJobID("gold", 1_800_000_000_000), "33c404c9-b6e5-80f0-a1b6-0678f40b1d51"},
		{"due", DueID("gold", "vc-a", "vm-1", 1_800_000_000_000), "eb2c1f2e-4eab-84b0-9a51-886b17335d56"},
	} {
		if c.got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
		if c.got[6]>>4 != 8 || c.got[8]>>6 != 2 {
			t.Errorf("%s: %s is no UUIDv8", c.name, c.got)
		}
	}
}

func TestUUIDText(t *testing.T) {
	u := JobID("a", "b")
	if got, err := ParseUUID(u.String()); err != nil || got != u {
		t.Errorf("%s came back as %s, %v", u, got, err)
	}
	if got, ok := UUIDOf(u.Bytes()); !ok || got != u {
		t.Errorf("%s came back as %s", u, got)
	}
	for _, bad := range []string{"", "x", "00000000-0000-0000-0000-00000000000g", "000000000000-0000-0000-000000000000", u.String() + "0"} {
		if _, err := ParseUUID(bad); err == nil {
			t.Errorf("%q was read as an id", bad)
		}
	}
	if _, ok := UUIDOf([]byte{1}); ok {
		t.Error("one byte was read as an id")
	}
	if IDText([]byte{1, 2}) != "0102" || !(UUID{}).IsZero() {
		t.Error("short ids, zero ids")
	}
}
