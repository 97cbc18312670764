BEGIN TRANSACTION;
CREATE TABLE zerog_documents (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    cas INTEGER NOT NULL,
    body TEXT NOT NULL,
    changes TEXT,
    lists TEXT NOT NULL,
    jobType, createdAt, updatedAt, queueName, queueJobId, queueState, queuedAt, notBefore, due, status, epoch, seq, owner, running, attempts, errorCount, crashes, lost, continues, startedAt, finishedAt, cancelRequested, completeness, tickcount, resultCode, run
);
INSERT INTO "zerog_documents" VALUES(1,'zerog_job_01a22e58-87e7-7bcd-bf1a-22cfa1be0c78',11777246999153607,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:43.623542+00:00","uuid":"01a22e58-87e7-7bcd-bf1a-22cfa1be0c78","logId":"a1be0c78","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"ends","weight":1.5,"leg":0,"stops":[]}','{"leg":1,"stops":["Köln"],"output":{"sender":"ends","leg":1}}','events errors warnings','parcel','2026-11-30T21:24:43.623542+00:00','2026-11-30T21:24:44.524924+00:00','default',4,'none','2026-11-30T21:24:44.450313+00:00',X'6E756C6C',X'6E756C6C','succeeded',2,3,X'6E756C6C',X'66616C7365',2,0,0,0,1,'2026-11-30T21:24:44.480091+00:00','2026-11-30T21:24:44.524924+00:00',X'6E756C6C',1.0,0.0,200,'37a9c1e318710');
INSERT INTO "zerog_documents" VALUES(2,'zerog_job_01a22e58-87fc-7cbc-bc7f-0057dac14bf3',865571428397983,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:43.644675+00:00","uuid":"01a22e58-87fc-7cbc-bc7f-0057dac14bf3","logId":"dac14bf3","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"fails","weight":1.5,"leg":0,"stops":[]}','{"lastError":{"timestamp":"2026-11-30T21:24:44.473926+00:00","errorCode":500,"type":"ValueError","msg":"ValueError: no address"}}','events errors warnings','parcel','2026-11-30T21:24:43.644675+00:00','2026-11-30T21:24:44.479072+00:00','default',2,'none','2026-11-30T21:24:43.645022+00:00',X'6E756C6C',X'6E756C6C','failed',1,3,X'6E756C6C',X'66616C7365',1,1,0,0,0,'2026-11-30T21:24:44.451064+00:00','2026-11-30T21:24:44.479072+00:00',X'6E756C6C',0.5,0.0,500,'2b4fecfa32b10');
INSERT INTO "zerog_documents" VALUES(3,'zerog_job_01a22e58-881c-7c62-8744-3fa52b0c897d',53168874009842811,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:43.676693+00:00","uuid":"01a22e58-881c-7c62-8744-3fa52b0c897d","logId":"2b0c897d","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"cancelled","weight":1.5,"leg":0,"stops":[]}',NULL,'events errors warnings','parcel','2026-11-30T21:24:43.676693+00:00','2026-11-30T21:24:43.693780+00:00','default',3,'none','2026-11-30T21:24:43.676923+00:00',X'6E756C6C',X'6E756C6C','cancelled',0,0,X'6E756C6C',X'66616C7365',0,0,0,0,0,X'6E756C6C','2026-11-30T21:24:43.693780+00:00','2026-11-30T21:24:43.693780+00:00',0.0,0.0,410,NULL);
INSERT INTO "zerog_documents" VALUES(4,'zerog_workers',29290995855031211,'{"documentType":"zerog_workers","workers":{"alice-2531-81dfd7":{"lease":30.0}}}',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "zerog_documents" VALUES(6,'zerog_schemas',24058720505004143,'{"documentType":"zerog_schemas","types":{"550a49ead28c8f62":"parcel"}}',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "zerog_documents" VALUES(7,'zerog_schema_550a49ead28c8f62',65897748970914328,'{"documentType":"zerog_schema","schemaOf":"parcel","schemas":[{"hash":"79b04f43f9604d6e","builds":["b1"],"firstAt":"2026-11-30T21:24:44.468552+00:00","schema":"{\"attributes\":[],\"frozen\":1,\"jobType\":\"parcel\",\"migrations\":[],\"params\":{\"additionalProperties\":false,\"properties\":{\"sender\":{\"type\":\"string\",\"x-field\":{\"class\":\"String\",\"required\":true}},\"weight\":{\"default\":1.5,\"type\":\"number\",\"x-field\":{\"class\":\"Float\",\"load_default\":1.5}}},\"required\":[\"sender\"],\"type\":\"object\",\"x-schema\":{\"unknown\":\"raise\"}},\"schemaVersion\":1.0,\"state\":{\"additionalProperties\":false,\"properties\":{\"leg\":{\"default\":0,\"type\":\"integer\",\"x-field\":{\"class\":\"Integer\",\"load_default\":0}},\"stops\":{\"default\":[],\"items\":{\"type\":\"string\",\"x-field\":{\"class\":\"String\"}},\"type\":\"array\",\"x-field\":{\"class\":\"List\",\"load_default\":[]}}},\"type\":\"object\",\"x-schema\":{\"unknown\":\"raise\"}},\"summary\":null,\"title\":null}"}]}',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "zerog_documents" VALUES(8,'zerog_sweeper',59800583252237298,'{"documentType":"zerog_sweeper","worker":"alice-2531-81dfd7","beat":1,"sweptAt":"2026-11-30T21:24:44.485812+00:00"}','{"sweptAt":"2026-11-30T21:24:44.806627+00:00"}','',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "zerog_documents" VALUES(9,'zerog_job_01a22e58-8bb2-7532-aed0-0247eebffd50',27605250248838850,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:44.594215+00:00","uuid":"01a22e58-8bb2-7532-aed0-0247eebffd50","logId":"eebffd50","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"hangs","weight":1.5,"leg":0,"stops":[]}',NULL,'events errors warnings','parcel','2026-11-30T21:24:44.594215+00:00','2026-11-30T21:24:44.829796+00:00','default',1,'none','2026-11-30T21:24:44.594543+00:00',X'6E756C6C',X'6E756C6C','running',1,2,X'7B22776F726B6572223A22616C6963652D323533312D383164666437222C226E6F6E6365223A2263633338393133313136326130222C226C65617365223A33302E302C226275696C64223A226231227D',X'74727565',1,0,0,0,0,'2026-11-30T21:24:44.777025+00:00',X'6E756C6C',X'6E756C6C',0.5,0.0,-1,'cc389131162a0');
INSERT INTO "zerog_documents" VALUES(10,'zerog_worker_alice-2531-81dfd7',35806663366894174,'{"documentType":"zerog_worker","worker":"alice-2531-81dfd7","host":"web1","pid":2531,"process":{"boot":"74e4955e-4c17-4421-a40d-a6a0d9f90607","namespace":"pid:[4026531836]","pid":2531,"started":378559},"build":"b1","executor":"thread","queues":["default"],"config":{"concurrency":1,"executor":"thread","lease":30.0,"grace":25.0,"queues":["default"],"name":"alice","build_id":"b1","max_jobs":null,"max_jobs_per_child":100,"max_memory":null,"connect_retries":null,"signals":["SIGTERM","SIGINT","SIGHUP"],"debug":false},"schedules":{},"beat":1,"lease":30.0,"state":"running","jobs":0,"uuids":[],"memory":25047040,"descriptors":{"open":10,"limit":20000},"renewedAt":"2026-11-30T21:24:44.738496+00:00","knows":[["parcel",1.0]],"held":[],"claiming":null}',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-30T21:24:44.735241+00:00',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "zerog_documents" VALUES(11,'zerog_job_01a22e58-8ca4-7eb9-a614-81a6a0f3806f',37086502356789550,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:44.836701+00:00","uuid":"01a22e58-8ca4-7eb9-a614-81a6a0f3806f","logId":"a0f3806f","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"waits","weight":1.5,"leg":0,"stops":[]}',NULL,'events errors warnings','parcel','2026-11-30T21:24:44.836701+00:00','2026-11-30T21:24:44.837505+00:00','default',1,'queued','2026-11-30T21:24:44.837505+00:00',X'6E756C6C',X'6E756C6C','queued',0,0,X'6E756C6C',X'66616C7365',0,0,0,0,0,X'6E756C6C',X'6E756C6C',X'6E756C6C',0.0,0.0,-1,NULL);
INSERT INTO "zerog_documents" VALUES(12,'zerog_job_01a22e58-8cb6-7231-a62a-897bfc6ceeb1',11520281935408870,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:44.854060+00:00","uuid":"01a22e58-8cb6-7231-a62a-897bfc6ceeb1","logId":"fc6ceeb1","queueKwargs":{},"expiresAt":null,"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"parent":null,"follower":null,"sender":"later","weight":1.5,"leg":0,"stops":[]}',NULL,'events errors warnings','parcel','2026-11-30T21:24:44.854060+00:00','2026-11-30T21:24:44.854276+00:00','default',2,'queued','2026-11-30T21:24:44.854276+00:00','2026-11-30T22:24:44.854276+00:00',X'6E756C6C','scheduled',0,0,X'6E756C6C',X'66616C7365',0,0,0,0,0,X'6E756C6C',X'6E756C6C',X'6E756C6C',0.0,0.0,-1,NULL);
CREATE TABLE zerog_history (
    document INTEGER NOT NULL,
    field TEXT NOT NULL,
    n INTEGER NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (document, field, n)
) WITHOUT ROWID;
INSERT INTO "zerog_history" VALUES(1,'events',1,'{"timestamp":"2026-11-30T21:24:44.422171+00:00","msg":"began"}');
INSERT INTO "zerog_history" VALUES(1,'events',2,'{"timestamp":"2026-11-30T21:24:44.507933+00:00","msg":"began"}');
INSERT INTO "zerog_history" VALUES(1,'warnings',1,'{"timestamp":"2026-11-30T21:24:44.449961+00:00","msg":"on its way"}');
INSERT INTO "zerog_history" VALUES(2,'errors',1,'{"timestamp":"2026-11-30T21:24:44.473926+00:00","errorCode":500,"msg":"ValueError: no address","type":"ValueError","traceback":"Traceback (most recent call last):\n  File \"/srv/app/zerog/worker/execute.py\", line 147, in _attempt\n    value = call()\n            ^^^^^^\n  File \"/srv/app/zerog/worker/execute.py\", line 92, in <lambda>\n    return conclude(job, begin(job), lambda: called(job))\n                                             ^^^^^^^^^^^\n  File \"/srv/app/zerog/worker/hooks.py\", line 29, in called\n    return _result(job, job.run())\n                        ^^^^^^^^^\n  File \"/srv/app/tests/golden/parcels.py\", line 34, in run\n    raise ValueError(\"no address\")\nValueError: no address\n","attempt":1}');
INSERT INTO "zerog_history" VALUES(2,'events',1,'{"timestamp":"2026-11-30T21:24:44.454434+00:00","msg":"began"}');
INSERT INTO "zerog_history" VALUES(9,'events',1,'{"timestamp":"2026-11-30T21:24:44.797796+00:00","msg":"began"}');
CREATE TABLE zerog_queue (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    uuid,
    priority INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    ttr REAL NOT NULL DEFAULT 60,
    token INTEGER
);
INSERT INTO "zerog_queue" VALUES(1,'default','01a22e58-8ca4-7eb9-a614-81a6a0f3806f',0,0.0,60.0,NULL);
INSERT INTO "zerog_queue" VALUES(2,'default','01a22e58-8cb6-7231-a62a-897bfc6ceeb1',0,1.79607748485438203814e+09,60.0,NULL);
CREATE TABLE zerog_rejected (
    queue TEXT NOT NULL,
    body
);
CREATE TABLE zerog_terms (
    name TEXT NOT NULL,
    term TEXT NOT NULL,
    created TEXT NOT NULL,
    key TEXT NOT NULL,
    document INTEGER NOT NULL,
    PRIMARY KEY (name, term, created, key)
) WITHOUT ROWID;
INSERT INTO "zerog_terms" VALUES('','ValueError','2026-11-30T21:24:43.644675+00:00','zerog_job_01a22e58-87fc-7cbc-bc7f-0057dac14bf3',2);
CREATE TABLE zerog_waiters (
    address TEXT PRIMARY KEY
) WITHOUT ROWID;
CREATE INDEX zerog_by_status ON zerog_documents (status, key);
CREATE INDEX zerog_by_due ON zerog_documents (due, key) WHERE typeof(due) = 'text';
CREATE INDEX zerog_by_end ON zerog_documents (status, jobType, finishedAt, key)
    WHERE typeof(finishedAt) = 'text';
CREATE INDEX zerog_by_creation ON zerog_documents (createdAt, key) WHERE typeof(createdAt) = 'text';
CREATE INDEX zerog_by_status_and_creation ON zerog_documents (status, createdAt, key)
    WHERE typeof(createdAt) = 'text'
;
CREATE INDEX zerog_terms_of ON zerog_terms (document, name)
;
CREATE INDEX zerog_odd ON zerog_queue (id) WHERE typeof(uuid) <> 'text' OR length(uuid) <> 36 OR typeof(priority) <> 'integer'
OR typeof(ttr) NOT IN ('real', 'integer') OR ttr <= 0 OR ttr > 1000000000
OR typeof(due) NOT IN ('real', 'integer') OR due < 0 OR due > 100000000000;
CREATE INDEX zerog_ready ON zerog_queue (queue, priority DESC, id) WHERE due = 0;
CREATE INDEX zerog_later ON zerog_queue (due) WHERE due > 0
;
COMMIT;
