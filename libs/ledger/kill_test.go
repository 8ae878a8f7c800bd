package ledger_test

func write(addr, state string) error { return nil }
