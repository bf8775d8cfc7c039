-- What somebody wrote before their role changed is bound by the role of then, and waits for a reviewer where they may not write any more:
-- the roles that an account had, the newest last, each once.
alter table account add column former_roles text[] not null default '{}';
