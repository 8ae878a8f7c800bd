package schemas

import "fmt"

// Sound says what makes a row useless to the stage that wrote it. topics asks it when
// it decodes, so that such a row stops its readers as one that does not decode would:
// what must be ended at a source must not be passed over.
func (x *ExportOpen) Sound() error {
	run := x.GetOrder().GetRun()
	switch {
	case len(run.GetBackup()) != 16:
		return fmt.Errorf("an order of a backup of %d bytes, want 16", len(run.GetBackup()))
	case len(run.GetLease()) != 16:
		return fmt.Errorf("an order of a lease of %d bytes, want 16", len(run.GetLease()))
	case ExportOpen_Phase_name[int32(x.GetPhase())] == "":
		return fmt.Errorf("phase %d is of no exporter that we know", x.GetPhase())
	}
	for i, old := range x.GetOlder() {
		if err := old.Sound(); err != nil {
			return fmt.Errorf("attempt %d before it: %w", i, err)
		}
	}
	return nil
}
