package vsphere

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25/types"
)

// isGone reports whether a call failed because that object is not there any more.
func isGone(err error, ref types.ManagedObjectReference) bool {
	var gone *types.ManagedObjectNotFound
	return is(err, &gone) && gone.Obj == ref
}

// explained is a vCenter's fault in words that name its cause and what to do.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// explain turns the faults that an operator will meet into words. What a vCenter
// says of itself is often empty, or "A general system error occurred".
func explain(err error) error {
	kind := faultName(err)
	if err == nil || kind == "" {
		return err
	}
	said := strings.TrimSpace(strings.TrimPrefix(err.Error(), "ServerFaultCode: "))
	for _, more := range details(err) {
		if !strings.Contains(said, more) {
			said = strings.TrimPrefix(said+"; "+more, "; ")
		}
	}
	why := kind
	if said != "" && said != kind {
		why = fmt.Sprintf("%s (%s)", said, kind)
	}
	if more := advice(err); more != "" {
		why += ": " + more
	}
	return &explained{why, err}
}

// details are the messages that a fault carries beside its text.
func details(err error) (all []string) {
	var h interface{ Fault() types.BaseMethodFault }
	if !errors.As(err, &h) || h.Fault() == nil {
		return nil
	}
	for _, m := range h.Fault().GetMethodFault().FaultMessage {
		if m.Message != "" {
			all = append(all, m.Message)
		}
	}
	return all
}

// advice is what to do about a fault, or what it carries that its text leaves out.
func advice(err error) string {
	var room *types.NoDiskSpace
	var permission *types.NoPermission
	var file types.BaseFileFault
	switch {
	case is(err, &room):
		return fmt.Sprintf("datastore %q is full: free some space, or move the machine", room.Datastore)
	case is(err, &permission):
		return fmt.Sprintf("the account lacks the right %q: see the role in ops/docs/vsphere.md", permission.PrivilegeId)
	case fault.Is(err, &types.TaskInProgress{}):
		return "another task works on the machine"
	case fault.Is(err, &types.HostNotConnected{}), fault.Is(err, &types.HostCommunication{}), fault.Is(err, &types.HostNotReachable{}):
		return "its host does not answer the vCenter"
	case fault.Is(err, &types.TooManySnapshotLevels{}):
		return "the machine has too many snapshots: remove some"
	case is(err, &file):
		return "file " + file.GetFileFault().File
	}
	return ""
}

func is[T any](err error, target *T) bool {
	_, ok := fault.As(err, target)
	return ok
}

// faultName is the type of the outermost fault in err, or nothing.
func faultName(err error) string {
	var h interface{ Fault() types.BaseMethodFault }
	if err == nil || !errors.As(err, &h) || h.Fault() == nil {
		return ""
	}
	t := reflect.TypeOf(h.Fault())
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// isQuiesce reports whether a snapshot failed because the guest could not be made
// to stand still. Hosts say so by these faults, or by a general one with a text.
func isQuiesce(err error) bool {
	var app *types.ApplicationQuiesceFault
	var fs *types.FilesystemQuiesceFault
	var tools *types.ToolsUnavailable
	if is(err, &app) || is(err, &fs) || is(err, &tools) || fault.Is(err, &types.GuestOperationsUnavailable{}) {
		return true
	}
	return faultName(err) != "" && strings.Contains(strings.ToLower(explain(err).Error()), "quiesc")
}

// isForgotten reports whether a query failed because its change id means nothing
// to the host: of another disk, of before a reset, or there is no tracking at all.
func isForgotten(err error) bool {
	var file types.BaseFileFault
	return fault.Is(err, &types.InvalidArgument{}) || fault.Is(err, &types.NotFound{}) ||
		fault.Is(err, &types.NotSupported{}) || fault.Is(err, &types.MethodNotFound{}) || is(err, &file)
}

// faultError makes an error of a fault that came as data.
func faultError(f types.LocalizedMethodFault) error {
	return task.Error{LocalizedMethodFault: &f}
}
