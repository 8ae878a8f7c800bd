package up

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-backup/holdfast/libs/conf"
	"github.com/holdfast-backup/holdfast/libs/vault"
)

// madeFile, beside the keys, names the vault that was made with them. Without it, the
// folders under shares that are not mounted would be taken for the targets of a vault
// that is still to be made, and backups would go to them.
const madeFile = "vault.made"

func madePath(c *conf.Config) string { return filepath.Join(c.Keys.Dir, madeFile) }

// remember writes down which vault the keys are of, if that is not done yet.
func remember(c *conf.Config, v *vault.Vault) error {
	b, err := os.ReadFile(madePath(c))
	switch id := strings.TrimSpace(string(b)); {
	case errors.Is(err, os.ErrNotExist):
		return writeNew(madePath(c), []byte(v.ID+"\n"))
	case err != nil:
		return fmt.Errorf("which vault was made: %w", err)
	case id != v.ID:
		return fmt.Errorf("the vault on the targets is %s (%s), and the keys in %s are of %s: are the right shares mounted?", v, v.ID, c.Keys.Dir, id)
	}
	return nil
}

// neverMade refuses to make a vault where one was made: none says that no target has it.
func neverMade(c *conf.Config, none error) error {
	_, err := os.Stat(madePath(c))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("which vault was made: %w", err)
	}
	return fmt.Errorf("%w, and one was made on them: are the shares mounted? If it is lost, remove %s to make another", none, madePath(c))
}
