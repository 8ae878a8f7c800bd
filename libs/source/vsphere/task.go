package vsphere

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// A task is asked after, seldom and more seldom: the API's way to be told hangs on
// an object of the session, which is gone with it.
const (
	askFirst = 50 * time.Millisecond
	askMax   = 2 * time.Second
)

// wait returns what a task came to.
func (s *Source) wait(ctx context.Context, c *vim25.Client, ref types.ManagedObjectReference) (types.AnyType, error) {
	pc := property.DefaultCollector(c)
	for pause := askFirst; ; pause = min(2*pause, askMax) {
		var t mo.Task
		if err := pc.RetrieveOne(ctx, ref, []string{"info"}, &t); err != nil {
			return nil, fmt.Errorf("ask after task %s: %w", ref.Value, explain(err))
		}
		switch t.Info.State {
		case types.TaskInfoStateSuccess:
			return t.Info.Result, nil
		case types.TaskInfoStateError:
			if t.Info.Error == nil {
				return nil, fmt.Errorf("task %s failed and does not say why", ref.Value)
			}
			return nil, task.Error{LocalizedMethodFault: t.Info.Error, Description: t.Info.Description}
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settle waits until no task on the machine makes or removes snapshots: one that
// its caller left (a crash, a cancel) may still bring one about.
func (s *Source) settle(ctx context.Context, c *vim25.Client, vm types.ManagedObjectReference) error {
	pc := property.DefaultCollector(c)
	var m mo.VirtualMachine
	if err := pc.RetrieveOne(ctx, vm, []string{"recentTask"}, &m); err != nil {
		return err
	}
	for _, ref := range m.RecentTask {
		var t mo.Task
		err := pc.RetrieveOne(ctx, ref, []string{"info"}, &t)
		if isGone(err, ref) {
			continue
		} else if err != nil {
			return err
		}
		open := t.Info.State == types.TaskInfoStateRunning || t.Info.State == types.TaskInfoStateQueued
		if !open || !strings.Contains(strings.ToLower(t.Info.DescriptionId), "snapshot") {
			continue
		}
		// How it ends is its caller's; what it leaves is in the tree then.
		if _, err := s.wait(ctx, c, ref); err != nil && ctx.Err() != nil {
			return err
		}
	}
	return nil
}
