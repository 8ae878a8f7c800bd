package schemas

// PolicyDeclared says which machines are backed up when, and how. The last word on a
// name counts. The record's key is the name too, because what Kafka keeps of a policy
// is the last record of its key. A record with that key and no value drops it as well.
type PolicyDeclared struct {
	// Name of the policy, and key of the record.
	Name string `json:"name"`
	// Dropped ends the policy: what waits of it is cancelled, what runs goes on. Nothing else is said then but the name.
	Dropped bool `json:"dropped,omitempty"`
	// Tenant that its backups are counted for.
	Tenant string `json:"tenant,omitempty"`
	// Machines, each as source/id, by name, or by instance id. A name means every machine that bears it, now or later.
	Machines []string `json:"machines,omitempty"`
	// Selectors match any number of machines, as they are found: what is tagged tomorrow is meant tomorrow.
	Selectors []Selector `json:"selectors,omitempty"`
	// Exclude takes machines out again.
	Exclude PolicyExclude `json:"exclude,omitzero"`
	// Calendar says when: one time or several. Either this or rpoMinutes must be there.
	Calendar []PolicyTime `json:"calendar,omitempty"`
	// RPOMinutes says how old the last point of a machine may grow.
	RPOMinutes uint32 `json:"rpoMinutes,omitempty"`
	// Zone of calendar and blackout, where they name none: an IANA name, such as Europe/Berlin. Default UTC.
	Zone string `json:"zone,omitempty"`
	// Blackout are times in which nothing is begun. What runs goes on.
	Blackout []PolicyBlackout `json:"blackout,omitempty"`
	// SpreadMinutes over which machines that are due together begin, each at its own moment. Default 5; 0: all at once.
	SpreadMinutes *uint32 `json:"spreadMinutes,omitempty"`
	// Mode full reads everything; incremental, the default, reads what changed since the last point.
	Mode string `json:"mode,omitempty" jsonschema:"enum=incremental,enum=full"`
	// Quiesce try, the default, takes the best level that can be had; require fails rather than take a lower one; off asks no guest.
	Quiesce string `json:"quiesce,omitempty" jsonschema:"enum=try,enum=require,enum=off"`
	// Priority: among backups that wait, higher goes first. Default 0.
	Priority int32 `json:"priority,omitempty"`
	// ExcludedDisks are names or globs of disks to leave out.
	ExcludedDisks []string `json:"excludedDisks,omitempty"`
	// NotAfterMinutes: how long after it was due a backup of the calendar may still begin. Default: until the next is due.
	NotAfterMinutes uint32 `json:"notAfterMinutes,omitempty"`
	// WindowMinutes from lease to done that are promised. Default: what the house promises, 15.
	WindowMinutes uint32 `json:"windowMinutes,omitempty"`
	// Vault by name; empty: that of the machine's region.
	Vault string `json:"vault,omitempty"`
	// Keep says which points stay, once points are collected. Nothing: all.
	Keep PolicyKeep `json:"keep,omitzero"`
	// Limits of what is done at once.
	Limits PolicyLimits `json:"limits,omitzero"`
}

// PolicyExclude are machines that a policy does not mean.
type PolicyExclude struct {
	Machines  []string   `json:"machines,omitempty"`
	Selectors []Selector `json:"selectors,omitempty"`
}

// PolicyTime is a line of a calendar.
type PolicyTime struct {
	// Cron is minute, hour, day of the month, month, day of the week; or @daily, @hourly, @weekly, @monthly, @yearly.
	Cron string `json:"cron"`
	// Zone, an IANA name. Default: the policy's.
	Zone string `json:"zone,omitempty"`
}

// PolicyBlackout is a time of some days.
type PolicyBlackout struct {
	// Days on which it begins. Default: every day.
	Days []string `json:"days,omitempty" jsonschema:"enum=mon,enum=tue,enum=wed,enum=thu,enum=fri,enum=sat,enum=sun"`
	// From, as 08:00.
	From string `json:"from"`
	// To, as 18:00 or 24:00; not after From: on the next day.
	To string `json:"to"`
	// Zone, an IANA name. Default: the policy's.
	Zone string `json:"zone,omitempty"`
}

// PolicyKeep says which points of a machine stay: each that one of its rules names.
type PolicyKeep struct {
	// Last so many points.
	Last uint32 `json:"last,omitempty"`
	// Hourly: the last point of each of so many hours that have one; and so on.
	Hourly  uint32 `json:"hourly,omitempty"`
	Daily   uint32 `json:"daily,omitempty"`
	Weekly  uint32 `json:"weekly,omitempty"`
	Monthly uint32 `json:"monthly,omitempty"`
	Yearly  uint32 `json:"yearly,omitempty"`
	// Days: every point that is no older.
	Days uint32 `json:"days,omitempty"`
}

// PolicyLimits bound what a policy does at once.
type PolicyLimits struct {
	// AtOnce: so many of its backups at once of the machines of one source. 0: as many as there are slots.
	AtOnce uint32 `json:"atOnce,omitempty"`
}

func (PolicyDeclared) EventType() string { return TypePolicyDeclared }
func (PolicyDeclared) inbound()          {}
