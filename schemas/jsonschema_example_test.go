package schemas

import "time"

// example is one event of each type, as it lies in events/.
type example struct {
	id, source, subject string
	data                Public
}

var (
	exampleTime = time.Date(2026, 11, 24, 18, 5, 0, 0, time.UTC)
	exampleJob  = JobID("/nightly", "2026-11-24")
)

func (e example) structured() map[string]any {
	m := map[string]any{"specversion": specVersion, "id": e.id, "source": e.source, "type": e.data.EventType(),
		"time": exampleTime, "datacontenttype": jsonType, "data": e.data}
	if e.subject != "" {
		m["subject"], m["partitionkey"] = e.subject, e.subject
	}
	return m
}

func examples() []example {
	job := JobRef{ID: exampleJob, Of: 2}
	backup := BackupID(exampleJob, "vc-a", "vm-1")
	machine := MachineRef{Source: "vc-a", ID: "vm-1", Name: "db-07"}
	at := func(s int) time.Time { return exampleTime.Add(time.Duration(s) * time.Second) }
	point := "points/1/0f6d5c8f2d3b4a599c3e7c1d2b9a8f70/" + backup.String() + "-6ba7b810-9dad-41d1-80b4-00c04fd430c8"
	restore := RestoreID("/nightly", "restore-1")
	spread := uint32(20)
	return []example{
		{"2026-11-24", "/nightly", "", BackupRequested{Machines: []string{"vc-a/vm-1"}, Selectors: []Selector{{Name: "web-*", Source: "vc-b", Folder: "/DC1/vm/prod", Tag: "backup/daily", Cluster: "blue", Host: "esx*"}},
			Mode: "incremental", Quiesce: "try", Priority: 10, ExcludedDisks: []string{"scratch*"}, NotAfter: at(3600)}},
		{"2026-11-24-stop", "/nightly", "", BackupCancel{Job: exampleJob}},
		{CompletedID(backup, "completed"), EventSource("eu-1"), machine.Path(), BackupCompleted{Job: job, Backup: backup, Machine: machine,
			Status: "completed", Point: point, Files: 2, WindowKept: true, WindowSeconds: 121.5, Redundancy: 6, Consistency: "crash",
			Bytes:    BackupBytes{Size: 10737422336, Read: 268439552, Fresh: 200000512, Known: 68439040, Zero: 4294967296, Inherited: 6174015488, Stored: 91234567},
			Warnings: []string{"disk scratch0 was left out, as asked"}, Attempt: 1, QueuedAt: at(1), LeasedAt: at(3), SnapshotAt: at(5), DoneAt: at(124)}},
		{backup.String() + "/running/1", EventSource("eu-1"), machine.Path(), BackupProgressed{Job: job, Backup: backup, Machine: machine,
			State: "running", Attempt: 1, Bytes: BackupBytes{Size: 10737422336, Read: 134217728, Fresh: 100000256, Known: 34217472, Stored: 45617283},
			QueuedAt: at(1), LeasedAt: at(3)}},
		{"gold-7", "/ops/git", "gold", PolicyDeclared{Name: "gold", Tenant: "shop", Machines: []string{"vc-a/vm-1"}, Selectors: []Selector{{Tag: "tier/gold"}},
			Exclude:  PolicyExclude{Machines: []string{"scratch-01"}, Selectors: []Selector{{Name: "*-tmp"}}},
			Calendar: []PolicyTime{{Cron: "0 2 * * *"}, {Cron: "0 13 * * mon-fri", Zone: "Europe/Lisbon"}}, Zone: "Europe/Berlin",
			Blackout: []PolicyBlackout{{Days: []string{"mon", "tue", "wed", "thu", "fri"}, From: "08:00", To: "12:00"}}, SpreadMinutes: &spread,
			Mode: "incremental", Quiesce: "require", Priority: 10, ExcludedDisks: []string{"scratch*"}, NotAfterMinutes: 240, WindowMinutes: 30,
			Vault: "eu-1", Keep: PolicyKeep{Last: 3, Daily: 14, Weekly: 8, Monthly: 12, Yearly: 3}, Limits: PolicyLimits{AtOnce: 20}}},
		{"restore-1", "/nightly", "", RestoreRequested{Point: point, Files: []string{"disk0.raw"}, Destination: RestoreDestination{Dir: "/srv/restore"},
			As: "raw", Mapping: map[string]string{"disk0.raw": "db-07.raw"}}},
		{restore.String() + "/progressed/1", EventSource("eu-1"), restore.String(), RestoreProgressed{Restore: restore, Point: point, Size: 10737418240, Done: 5368709120}},
		{restore.String() + "/completed", EventSource("eu-1"), restore.String(), RestoreCompleted{Restore: restore, Point: point, Status: "completed",
			Destination: "/srv/restore", Files: []string{"db-07.raw"}, Size: 10737418240, Written: 6442450944, StartedAt: at(1), DoneAt: at(90)}},
	}
}
