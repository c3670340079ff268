// Lives through the life of one database instance with gophercloud's openstack/db/v1, unmodified.
//
// It reads the OS_ variables of its environment, takes a datastore as its argument, prints one line for each step that it
// has done, and ends with the first error. With the id of an instance as a second argument it uses that one, which must have
// the database `app` and its user `amy`, and leaves it as it was.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/databases"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/datastores"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/instances"
	"github.com/gophercloud/gophercloud/v2/openstack/db/v1/users"
)

const patience = 4 * time.Minute

// life is one instance, and what has been done with it.
type life struct {
	ctx       context.Context
	client    *gophercloud.ServiceClient
	datastore string
	version   string
	id        string
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	client, err := connect(ctx)
	if err == nil {
		it := &life{ctx: ctx, client: client, datastore: os.Args[1]}
		if len(os.Args) > 2 {
			it.id = os.Args[2]
			err = do(it.use())
		} else {
			err = do(it.whole())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func connect(ctx context.Context) (*gophercloud.ServiceClient, error) {
	options, err := openstack.AuthOptionsFromEnv()
	if err != nil {
		return nil, err
	}
	provider, err := openstack.AuthenticatedClient(ctx, options)
	if err != nil {
		return nil, err
	}
	return openstack.NewDBV1(provider, gophercloud.EndpointOpts{Region: os.Getenv("OS_REGION_NAME")})
}

type step struct {
	name string
	do   func() error
}

func (l *life) whole() []step {
	return []step{
		{"datastores", l.readDatastores},
		{"flavors", l.readFlavors},
		{"create", l.create},
		{"active", func() error { return l.wait("ACTIVE") }},
		{"list", l.list},
		{"databases", l.useDatabases},
		{"users", l.useUsers},
		{"root", l.useRoot},
		{"restart", func() error { return l.act(instances.Restart(l.ctx, l.client, l.id).ExtractErr()) }},
		{"resize", func() error { return l.act(instances.Resize(l.ctx, l.client, l.id, "2").ExtractErr()) }},
		{"resized", l.resized},
		{"delete", l.delete},
	}
}

func (l *life) use() []step {
	return []step{
		{"datastores", l.readDatastores},
		{"list", l.list},
		{"databases", l.useDatabases},
		{"users", l.useUsers},
		{"restart", func() error { return l.act(instances.Restart(l.ctx, l.client, l.id).ExtractErr()) }},
	}
}

func do(steps []step) error {
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Println(step.name)
	}
	return nil
}

func (l *life) readDatastores() error {
	page, err := datastores.List(l.client).AllPages(l.ctx)
	if err != nil {
		return err
	}
	found, err := datastores.ExtractDatastores(page)
	if err != nil {
		return err
	}
	for _, each := range found {
		if each.Name == l.datastore {
			version, err := datastores.GetVersion(l.ctx, l.client, each.ID, each.DefaultVersion).Extract()
			if err != nil {
				return err
			}
			l.version = version.Name
			return nil
		}
	}
	return fmt.Errorf("no datastore %s among %v", l.datastore, found)
}

func (l *life) readFlavors() error {
	page, err := flavors.List(l.client).AllPages(l.ctx)
	if err != nil {
		return err
	}
	found, err := flavors.ExtractFlavors(page)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(found, func(each flavors.Flavor) bool { return each.StrID == "1" && each.ID == 1 }) {
		return fmt.Errorf("no flavor 1 among %v", found)
	}
	_, err = flavors.Get(l.ctx, l.client, "1").Extract()
	return err
}

func (l *life) create() error {
	names := databases.BatchCreateOpts{{Name: "app"}}
	made, err := instances.Create(l.ctx, l.client, instances.CreateOpts{
		Name: "by-gophercloud", FlavorRef: "1", Size: 1, Databases: names,
		Users:     users.BatchCreateOpts{{Name: "amy", Password: "secret", Databases: names}},
		Datastore: &instances.DatastoreOpts{Type: l.datastore, Version: l.version},
	}).Extract()
	if err != nil {
		return err
	}
	l.id = made.ID
	if made.Status != "BUILD" || made.Created.IsZero() || made.Volume.Size != 1 || made.Flavor.ID != "1" {
		return fmt.Errorf("not what was ordered: %+v", made)
	}
	return nil
}

// wait returns when the instance has the status; ERROR ends it at once.
func (l *life) wait(status string) error {
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		found, err := instances.Get(l.ctx, l.client, l.id).Extract()
		if err != nil {
			return err
		}
		if found.Status == status {
			return nil
		}
		if found.Status == "ERROR" {
			return fmt.Errorf("the instance is in ERROR: %+v", found.Fault)
		}
	}
	return fmt.Errorf("the instance is not %s in %v", status, patience)
}

// act waits for the end of an action that was accepted.
func (l *life) act(err error) error {
	if err != nil {
		return err
	}
	return l.wait("ACTIVE")
}

func (l *life) list() error {
	page, err := instances.List(l.client).AllPages(l.ctx)
	if err != nil {
		return err
	}
	found, err := instances.ExtractInstances(page)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(found, func(each instances.Instance) bool { return each.ID == l.id && len(each.Addresses) > 0 }) {
		return fmt.Errorf("%s is not listed with an address: %+v", l.id, found)
	}
	return nil
}

// useDatabases makes more than a page of them, so that the links between pages are followed.
func (l *life) useDatabases() error {
	many := databases.BatchCreateOpts{}
	wanted := []string{"app"}
	for number := range 25 {
		name := fmt.Sprintf("more_%02d", number)
		many = append(many, databases.CreateOpts{Name: name})
		wanted = append(wanted, name)
	}
	// a few at a time: each call has eight seconds, also on a busy machine
	for few := range slices.Chunk(many, 5) {
		if err := databases.Create(l.ctx, l.client, l.id, few).ExtractErr(); err != nil {
			return err
		}
	}
	if err := l.databasesAre(wanted); err != nil {
		return err
	}
	for _, name := range wanted[1:] {
		if err := databases.Delete(l.ctx, l.client, l.id, name).ExtractErr(); err != nil {
			return err
		}
	}
	return l.databasesAre([]string{"app"})
}

func (l *life) databasesAre(wanted []string) error {
	page, err := databases.List(l.client, l.id).AllPages(l.ctx)
	if err != nil {
		return err
	}
	found, err := databases.ExtractDBs(page)
	if err != nil {
		return err
	}
	names := []string{}
	for _, each := range found {
		names = append(names, each.Name)
	}
	if slices.Sort(names); !slices.Equal(names, wanted) {
		return fmt.Errorf("databases %v instead of %v", names, wanted)
	}
	return nil
}

func (l *life) useUsers() error {
	more := users.BatchCreateOpts{{Name: "bob", Password: "secret", Databases: databases.BatchCreateOpts{{Name: "app"}}}}
	if err := users.Create(l.ctx, l.client, l.id, more).ExtractErr(); err != nil {
		return err
	}
	if err := l.usersAre([]string{"amy", "bob"}); err != nil {
		return err
	}
	if err := users.Delete(l.ctx, l.client, l.id, "bob").ExtractErr(); err != nil {
		return err
	}
	return l.usersAre([]string{"amy"})
}

func (l *life) usersAre(wanted []string) error {
	page, err := users.List(l.client, l.id).AllPages(l.ctx)
	if err != nil {
		return err
	}
	found, err := users.ExtractUsers(page)
	if err != nil {
		return err
	}
	names := []string{}
	for _, each := range found {
		names = append(names, each.Name)
		if len(each.Databases) != 1 || each.Databases[0].Name != "app" {
			return fmt.Errorf("%s may use %v", each.Name, each.Databases)
		}
	}
	if slices.Sort(names); !slices.Equal(names, wanted) {
		return fmt.Errorf("users %v instead of %v", names, wanted)
	}
	return nil
}

func (l *life) useRoot() error {
	root, err := instances.EnableRootUser(l.ctx, l.client, l.id).Extract()
	if err != nil {
		return err
	}
	if root.Name != "root" || root.Password == "" {
		return fmt.Errorf("no password for root")
	}
	enabled, err := instances.IsRootEnabled(l.ctx, l.client, l.id).Extract()
	if err == nil && !enabled {
		err = fmt.Errorf("root is not enabled")
	}
	return err
}

func (l *life) resized() error {
	found, err := instances.Get(l.ctx, l.client, l.id).Extract()
	if err == nil && found.Flavor.ID != "2" {
		err = fmt.Errorf("the flavor is %s", found.Flavor.ID)
	}
	return err
}

func (l *life) delete() error {
	if err := instances.Delete(l.ctx, l.client, l.id).ExtractErr(); err != nil {
		return err
	}
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		_, err := instances.Get(l.ctx, l.client, l.id).Extract()
		if gophercloud.ResponseCodeIs(err, 404) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("the instance is still there after %v", patience)
}
